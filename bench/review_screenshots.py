"""docs/review.md's pictures: photographs made small and damaged, restored by the real daemon, and the page on them.

    python bench/review_screenshots.py PHOTOGRAPH... --folder ~/Pictures/web --out docs

The folder is made for the pictures, is seen on the page, and is removed. The last photograph is the one that is shown
before and after.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

#: JPEG qualities in turn.
QUALITIES = (30, 50, 25, 70, 40, 20)

NAMES = ("mountain", "lunch", "kitchen-garden", "neighbours", "journey", "house")


def prepare(base: Path, folder: Path, photographs: list[Path], model: str) -> tuple[Path, str]:
    """Makes the pictures and restores them; returns the settings' file and the last one's name."""
    config = base / "config.yaml"
    folder.mkdir(parents=True)
    settings = {"daemon": {"state": str(base / "state")}, "engine": {"model": model}}
    config.write_text(json.dumps({**settings, "folders": [{"path": str(folder), "settle_seconds": 0}]}))
    for number, path in enumerate(photographs):
        with Image.open(path) as file:
            small = file.convert("RGB").resize((file.width // 2, file.height // 2), Image.Resampling.BICUBIC)
        target = folder / f"{NAMES[number % len(NAMES)]}-{number + 1:02}.jpg"
        small.save(target, quality=QUALITIES[number % len(QUALITIES)])
    (folder / "download.jpg").write_bytes(b"<!doctype html><title>404 Not Found</title>")
    (folder / "half.jpg").write_bytes(target.read_bytes()[:2500])
    environment = {**os.environ, "LIIF_RUNTIME_DIR": str(base / "run")}
    (base / "run").mkdir(mode=0o700)
    command = [sys.executable, "-m", "liif_daemon", "run", "--once", "--config", str(config)]
    subprocess.run(command, env=environment, check=False)
    return config, target.name


def shoot(page: Page, link: str, name: str, out: Path) -> None:
    """The list, the slider, the failures, a dark list and a telephone's."""
    page.goto(link)
    origin = link.partition("/open/")[0]
    page.wait_for_url(f"{origin}/")

    def save(view: str) -> None:
        page.wait_for_load_state("networkidle")
        page.screenshot(path=out / f"review-{view}.png")

    save("list")
    page.locator(".row .open", has_text=name).click()
    page.wait_for_load_state("networkidle")
    save("slider")
    page.goto(f"{origin}/?view=failed")
    save("failures")
    page.emulate_media(color_scheme="dark")
    page.goto(origin)
    save("dark")
    page.set_viewport_size({"width": 390, "height": 760})
    save("phone")
    page.locator(".row .open", has_text=name).click()
    page.wait_for_load_state("networkidle")
    save("phone-slider")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photographs", type=Path, nargs="+")
    parser.add_argument("--folder", type=Path, required=True, help="for the pictures; must not exist")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--model", default="web")
    parser.add_argument("--chromium", default="/usr/bin/chromium")
    arguments = parser.parse_args()
    root = ["--no-sandbox"] if os.geteuid() == 0 else []
    with tempfile.TemporaryDirectory(prefix="liif-") as folder, sync_playwright() as playwright:
        config, name = prepare(Path(folder), arguments.folder, arguments.photographs, arguments.model)
        browser = playwright.chromium.launch(executable_path=arguments.chromium, args=["--disable-gpu", *root])
        command = [sys.executable, "-m", "liif_daemon", "review", "--no-open", "--config", str(config)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            process.stdout.readline()
            page = browser.new_page(viewport={"width": 880, "height": 660})
            shoot(page, process.stdout.readline().strip(), name, arguments.out)
            process.terminate()
        browser.close()
        shutil.rmtree(arguments.folder)


if __name__ == "__main__":
    main()
