"""Pictures of the page of `serve` for the documentation: a desktop in light colours, a phone in dark ones.

    python tools/page_pictures.py MODEL PICTURE [--folder docs]

Serves MODEL, lets a Chromium that is installed (`apt-get install chromium`) label PICTURE on its page, and writes
serve_desktop.png and serve_phone.png. The model's contract has to lie beside it: without a proof it ends with 1. Prints
the lines of the page that say what is proven and how long a picture took, the last of five.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from playwright.sync_api import sync_playwright

VIEWS = (("desktop", {"width": 1280, "height": 860}, "light"), ("phone", {"width": 390, "height": 844}, "dark"))
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
PATIENCE, TIMES = 60, 5  # seconds for one answer; how often the picture is labelled: the first answers are slower


def main() -> int:
    """Write the pictures; 1 where the page does not say that the file is proven."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="exported file with its contract beside it")
    parser.add_argument("picture", type=Path, help="what the page labels")
    parser.add_argument("--folder", type=Path, default=Path("docs"), help="where the pictures go (default docs)")
    words = parser.parse_args()
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        sys.exit("no chromium on PATH; on Debian: apt-get install chromium")
    serve = [sys.executable, "-m", "edgeailite", "serve", str(words.model), "--port", "0"]
    with subprocess.Popen(serve, stderr=subprocess.PIPE, text=True) as service, sync_playwright() as tool:
        assert service.stderr is not None
        address = service.stderr.readline().split()[2].rstrip(",")  # listening on ADDRESS, loading MODEL
        browser = tool.chromium.launch(executable_path=chromium, args=FLAGS)
        try:
            verdicts = [view(browser, address, words.picture, words.folder, *each) for each in VIEWS]
        finally:
            browser.close()
            service.terminate()
    return int(any("proven" not in verdict.split() for verdict in verdicts))


def view(browser: Any, address: str, picture: Path, folder: Path, name: str, size: Any, scheme: Any) -> str:
    """Label a picture on a page of a size, write what is seen; return the verdict on the model."""
    page = browser.new_page(viewport=size, color_scheme=scheme)
    page.goto(address)
    said(page, "Ready")
    for _ in range(TIMES):
        with page.expect_response(lambda answer: "/predict" in answer.url):
            page.set_input_files("#file", str(picture))
        status = said(page, "Labelled in")
    verdict = str(page.text_content("#verdict"))
    print(f"{name}: {verdict}; {page.text_content('#proof')} {status}")
    pixels = cv2.imdecode(np.frombuffer(page.screenshot(), np.uint8), cv2.IMREAD_COLOR)
    assert pixels is not None
    cv2.imwrite(str(folder / f"serve_{name}.png"), pixels, [cv2.IMWRITE_PNG_COMPRESSION, 9])
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
