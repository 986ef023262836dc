"""Drawn chest X-rays, and the whole main job on them."""

from featx.demo._hospitals import Hospital
from featx.demo._phantoms import Phantom, draw_phantom, write_phantoms
from featx.demo._results import DemoCounts, DemoHead, DemoResult
from featx.demo._walkthrough import DemoSize, run_demo

__all__ = [
    "DemoCounts",
    "DemoHead",
    "DemoResult",
    "DemoSize",
    "Hospital",
    "Phantom",
    "draw_phantom",
    "run_demo",
    "write_phantoms",
]
