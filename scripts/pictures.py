"""The pictures of the README, in docs/pictures: parts of a run's page, in light and in dark.

    python scripts/pictures.py

Needs a Chromium on the path, and playwright of the development group.
"""

import io
import shutil
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

import hlm_models as hlm

MODEL = "sleepstudy-slopes"
FOLDER = Path(__file__).resolve().parents[1] / "docs" / "pictures"
GROUNDS = {"light": "#fbfaf6", "dark": "#14171c"}
COLUMN, GAP, SCALE = 800, 28, 1.4


def shots(page: Page, selectors: list[str]) -> list[Image.Image]:
    """A picture of the first element that each selector finds."""
    found = [page.locator(selector).first.screenshot() for selector in selectors]
    return [Image.open(io.BytesIO(one)).convert("RGB") for one in found]


def stacked(pictures: list[Image.Image], ground: str, gap: int) -> Image.Image:
    """The pictures below each other."""
    height = sum(one.height for one in pictures) + gap * (len(pictures) - 1)
    out = Image.new("RGB", (max(one.width for one in pictures), height), ground)
    top = 0
    for one in pictures:
        out.paste(one, (0, top))
        top += one.height + gap
    return out


def beside(left: Image.Image, right: Image.Image, ground: str, gap: int) -> Image.Image:
    """Both next to each other, with a margin around."""
    size = (left.width + right.width + 3 * gap, max(left.height, right.height) + 2 * gap)
    out = Image.new("RGB", size, ground)
    out.paste(left, (gap, gap))
    out.paste(right, (left.width + 2 * gap, gap))
    return out


def main() -> None:
    """Run the model, and write a picture a colour scheme."""
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as place, sync_playwright() as kit:
        run = hlm.run(MODEL, root=place)
        executable = shutil.which("chromium") or "/usr/bin/chromium"
        browser = kit.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        for scheme, ground in GROUNDS.items():
            page = browser.new_page(
                viewport={"width": COLUMN, "height": 900},
                color_scheme="dark" if scheme == "dark" else "light",
                device_scale_factor=SCALE,
            )
            page.goto(run.page.as_uri())
            page.add_style_tag(content=".frame { display: none !important } #answer { border: 0 }")
            gap = round(GAP * SCALE)
            left = stacked(shots(page, ["main header", "#answer"]), ground, 0)
            right = stacked(shots(page, ["#agreement .card", "#lines .card"]), ground, gap)
            picture = beside(left, right, ground, gap)
            picture.quantize(128).save(FOLDER / f"run-{scheme}.png", optimize=True)
            page.close()
        browser.close()


if __name__ == "__main__":
    main()
