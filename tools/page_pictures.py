"""Pictures of the page of `serve` for the documentation: a desktop in light colours, a phone in dark ones.

    python tools/page_pictures.py MODEL [--scene NUMBER] [--folder docs]

Serves MODEL, lets a Chromium that is installed (`apt-get install chromium`) label a generated street scene on its page,
one of a seed that no preset trains on, and writes serve_desktop.png and serve_phone.png. The model's contract has to
lie beside it: without a proof it ends with 1. Prints the lines of the page that say what is proven and how long a
picture took, the last of five. The model of the pictures in docs/ is made by

    edgeailite preset streets --model_name fpn_aspp_efficientnet_lite0_edgeailite --pretrained imagenet --lr 3e-3 \\
        --lr_encoder 6e-4 --epochs 4 --save_path runs/streets
    edgeailite calibrate runs/streets && edgeailite export runs/streets_ptq && edgeailite verify runs/streets_ptq
"""

from __future__ import annotations

import argparse
import io
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import sync_playwright

from edgeailite.data.files.images import encode_png
from edgeailite.data.streets.dataset import generate_scene

VIEWS = (("desktop", {"width": 1280, "height": 860}, "light"), ("phone", {"width": 390, "height": 844}, "dark"))
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
SEED, SCENE, HEIGHT, WIDTH = 2, 7, 384, 768
PATIENCE, TIMES = 60, 5  # seconds for one answer; how often the picture is labelled: the first answers are slower


def main() -> int:
    """Write the pictures; 1 where the page does not say that the file is proven."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="exported file with its contract beside it")
    parser.add_argument("--scene", type=int, default=SCENE, help=f"number of the street scene (default {SCENE})")
    parser.add_argument("--folder", type=Path, default=Path("docs"), help="where the pictures go (default docs)")
    words = parser.parse_args()
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        sys.exit("no chromium on PATH; on Debian: apt-get install chromium")
    picture = encode_png(generate_scene(SEED, words.scene, height=HEIGHT, width=WIDTH).image)
    serve = [sys.executable, "-m", "edgeailite", "serve", str(words.model), "--port", "0"]
    with subprocess.Popen(serve, stderr=subprocess.PIPE, text=True) as service, sync_playwright() as tool:
        assert service.stderr is not None
        address = service.stderr.readline().split()[2].rstrip(",")  # listening on ADDRESS, loading MODEL
        browser = tool.chromium.launch(executable_path=chromium, args=FLAGS)
        try:
            verdicts = [view(browser, address, picture, words.folder, *each) for each in VIEWS]
        finally:
            browser.close()
            service.terminate()
    return int(any("proven" not in verdict.split() for verdict in verdicts))


def view(browser: Any, address: str, picture: bytes, folder: Path, name: str, size: Any, scheme: Any) -> str:
    """Label a picture on a page of a size, write what is seen; return the verdict on the model."""
    page = browser.new_page(viewport=size, color_scheme=scheme)
    page.goto(address)
    said(page, "Ready")
    for _ in range(TIMES):
        with page.expect_response(lambda answer: "/predict" in answer.url):
            page.set_input_files("#file", {"name": "street.png", "mimeType": "image/png", "buffer": picture})
        status = said(page, "Labelled in")
    verdict = str(page.text_content("#verdict"))
    print(f"{name}: {verdict}; {page.text_content('#proof')} {status}")
    with Image.open(io.BytesIO(page.screenshot())) as shot:  # 256 colours: a third of the bytes
        shot.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(folder / f"serve_{name}.png", optimize=True)
    page.close()
    return verdict


def said(page: Any, start: str) -> str:
    """Wait until the page's status line starts with these words; return it."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        text = str(page.text_content("#status"))
        if text.startswith(start):
            return text
        page.wait_for_timeout(5)
    raise TimeoutError(f"the page does not say {start!r} in {PATIENCE} s: {text}; {page.text_content('#reason')}")


if __name__ == "__main__":
    sys.exit(main())
