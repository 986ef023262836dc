"""Drawn chest X-rays, and the whole main job on them."""

from featx.demo._phantoms import Phantom, draw_phantom, write_phantoms
from featx.demo._walkthrough import DemoResult, DemoSize, run_demo

__all__ = [
    "DemoResult",
    "DemoSize",
    "Phantom",
    "draw_phantom",
    "run_demo",
    "write_phantoms",
]
