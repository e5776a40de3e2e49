"""Draws the picture in the README: verdict and first plots of a finished run's report, as a browser shows them.

    python -m benchmarks.report_picture latest

It needs Chromium (Debian: `apt-get install chromium-headless-shell`) or Chrome; `$CHROME` names another one.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image, ImageChops  # comes with matplotlib

from thickets import ThicketsError, open_run

BROWSERS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome", "chrome")
TARGET = Path("docs/report.png")
WIDTH, HEIGHT = 1060, 2400
"""Size of the window, in CSS pixels; what is empty below is cut off."""
SCALE = 2
"""Pixels of the picture per CSS pixel, so that it is sharp on dense screens."""
MARGIN = 40
"""What stays empty below, in pixels of the picture."""
STYLE = """<style>
nav, main > section:not(#verdict, #plots), #plots > h2, #plots figure:nth-of-type(n + 3) { display: none; }
:root { --sans: "Liberation Sans", Arial, Helvetica, sans-serif; }
</style></head>"""


def main() -> None:
    """Write the picture of one run's report."""
    parser = argparse.ArgumentParser(description="Write a picture of a finished run's report.")
    parser.add_argument("run", nargs="?", default="latest", help="a run id, a unique prefix of one, or latest (latest)")
    parser.add_argument("--out", type=Path, default=TARGET, help=f"where to ({TARGET})")
    given = parser.parse_args()
    try:
        with tempfile.TemporaryDirectory() as folder:
            page = open_run(given.run).report(Path(folder) / "report.html")
            draw(page, given.out)
    except ThicketsError as error:
        sys.exit(f"error: {error}")


def draw(page: Path, target: Path) -> None:
    """Write verdict and first two plots of a report as a picture; its flat areas miss none of the 256 colours."""
    with tempfile.TemporaryDirectory() as folder:
        part = Path(folder) / "part.html"
        part.write_text(page.read_text(encoding="utf-8").replace("</head>", STYLE, 1), encoding="utf-8")
        shoot(part.as_uri(), target)


def shoot(address: str, target: Path) -> None:
    """Write what a browser shows at an address as a PNG of 256 colours."""
    with tempfile.TemporaryDirectory() as folder:
        shot = Path(folder) / "shot.png"
        subprocess.run(
            [
                find_browser(),
                "--headless",
                *(["--no-sandbox"] if os.geteuid() == 0 else []),  # Chromium's sandbox refuses root
                "--disable-gpu",
                "--hide-scrollbars",
                f"--force-device-scale-factor={SCALE}",
                f"--window-size={WIDTH},{HEIGHT}",
                f"--screenshot={shot}",
                address,
            ],
            check=True,
            capture_output=True,
            timeout=120,
        )
        with Image.open(shot) as opened:
            picture = opened.convert("RGB")
        blank = Image.new("RGB", picture.size, picture.getpixel((0, 0)))
        _, _, _, bottom = ImageChops.difference(picture, blank).getbbox() or (0, 0, *picture.size)
        kept = picture.crop((0, 0, picture.width, min(bottom + MARGIN, picture.height)))
        kept.quantize(256, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(target, optimize=True)


def find_browser() -> str:
    """Return the path of Chromium or Chrome; exit with one line that says what to install if there is none."""
    names = [os.environ["CHROME"]] if "CHROME" in os.environ else BROWSERS
    found = next(filter(None, map(shutil.which, names)), None)
    if found is None:
        sys.exit(f"error: found none of {', '.join(names)}; install Chromium, or name its program in $CHROME")
    return found


if __name__ == "__main__":
    main()
