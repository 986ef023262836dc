"""Makes the pictures of docs/how-to/worklist.md anew: ``python -m tests.docs.worklist_pictures``.

X-rays in them are drawn, so that the documentation shows nobody's chest.
"""

from __future__ import annotations

import io
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

from PIL import Image

from featx.serving import Service
from tests.conftest import BROWSER_FLAGS
from tests.serving_fixtures import draw_films, fit_mini

PICTURES = Path(__file__).parents[2] / "docs" / "images"
FILMS = 10
COLORS = 128
"""Colors of a picture without an X-ray. It is a third as large with so few."""
QUALITY = 82
"""Quality of one with an X-ray, as JPEG."""


def make_pictures(folder: Path = PICTURES) -> list[Path]:
    """Serve drawn X-rays, and take pictures of the pages."""
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        run = fit_mini(Path(name), patients=60, size=256, accuracy_floor=0.85)
        films = draw_films(Path(name) / "films", FILMS, size=256)
        with Service(run, port=0, state=Path(name) / "state") as service:
            worklist = service.station.worklist
            half = films[0].read_bytes()
            for film in films:
                worklist.add(film.read_bytes(), film.name.split("-")[1], "upload")
            worklist.add(half[: len(half) // 2], "000-again.png", "watch")
            while worklist.count_waiting():
                time.sleep(0.1)
            first = worklist.runs[0]
            scored = sorted(
                (item for item in worklist.items() if item.state == "scored"),
                key=lambda item: -(item.prediction(first).score or 0.0),
            )
            worklist.read(scored[0].id, first.classes[1])
            worklist.read(scored[-1].id, first.classes[0])
            browser = playwright.chromium.launch(
                executable_path=shutil.which("chromium"), args=BROWSER_FLAGS
            )
            made = [
                _list(browser, service, folder / "worklist.png"),
                _image(browser, service, folder / "worklist-image.jpeg", scored[2].id),
                _list(browser, service, folder / "worklist-phone.png", 420, "dark"),
            ]
            browser.close()
    return made


def _list(
    browser: Any, service: Service, target: Path, width: int = 1280, scheme: str = "light"
) -> Path:
    page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
    page.goto(service.url)
    return _saved(page, target)


def _image(browser: Any, service: Service, target: Path, identifier: str) -> Path:
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    page.goto(f"{service.url}images/{identifier}")
    page.locator("#fade:enabled").wait_for()
    page.keyboard.press(" ")
    page.wait_for_timeout(500)
    return _saved(page, target)


def _saved(page: Any, target: Path) -> Path:
    with Image.open(io.BytesIO(page.screenshot())) as image:
        if target.suffix == ".png":
            image.convert("RGB").quantize(COLORS, dither=Image.Dither.NONE).save(target)
        else:
            image.convert("RGB").save(target, quality=QUALITY)
    page.close()
    return target


if __name__ == "__main__":
    for path in make_pictures():
        print(path, path.stat().st_size)
