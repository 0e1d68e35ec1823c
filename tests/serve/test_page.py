"""The page in a browser that is there already: chromium, driven by playwright. `.ci/run` installs it where it can.

    apt-get install chromium                 # as root, on Debian
    pip install axe-playwright-python        # for the tests of accessibility
    tools/test.sh -m slow tests/serve/test_page.py

With $EDGEAILITE_SCREENSHOTS a folder gets pictures of the page to look at; with $EDGEAILITE_SHOW_MODEL and
$EDGEAILITE_SHOW_PICTURE they show that model and that picture.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.serve.running import CLASSES, PALETTE, picture, pixels, serving, tiny_model
from tests.test_without_torch import write_contract

playwright = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium on PATH; on Debian: apt-get install chromium"),
]

FLAGS = ["--no-sandbox", "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
DESKTOP, PHONE = {"width": 1280, "height": 860}, {"width": 390, "height": 844}
SERIOUS = ("serious", "critical")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    shown = os.environ.get("EDGEAILITE_SHOW_MODEL") or tiny_model(folder / "tiny.onnx")
    other = tiny_model(folder / "other.onnx", seed=2)
    write_contract(folder / "contract.json", other)
    words = (f"first={shown}", other, "--max_megapixels", 1)
    with serving(folder, *words) as running:
        yield running


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as tool:
        found = tool.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield found
        found.close()


@pytest.fixture
def visit(server, browser):
    """`visit(size, scheme)` opens the page; what it logs as an error or asks of others fails the test."""
    contexts, trouble = [], []

    def go(size=DESKTOP, scheme="light", *, touch=False, expected_errors=False):
        context = browser.new_context(viewport=size, color_scheme=scheme, has_touch=touch, device_scale_factor=1)
        contexts.append(context)
        page = context.new_page()
        if not expected_errors:
            page.on("console", lambda message: trouble.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: trouble.append(str(error)))
        origin = f"http://127.0.0.1:{server.port}"
        page.on("request", lambda request: trouble.append(request.url) if not own(request.url, origin) else None)
        page.goto(f"{origin}/")
        until(page, "document.getElementById('status').textContent === 'Ready'")
        return page

    yield go
    for context in contexts:
        context.close()
    assert not trouble


def until(page, script: str, *, arg: object = None) -> None:
    """Wait for a condition. The browser's own waiting would evaluate text inside the page, whose policy forbids it."""
    for _ in range(600):
        if page.evaluate(script, arg):
            return
        page.wait_for_timeout(50)
    raise AssertionError(f"{script}: not within 30 s; {page.text_content('#status')}, {page.text_content('#reason')}")


def own(url: str, origin: str) -> bool:
    return url.startswith((f"{origin}/", "blob:", "data:"))


def upload(page, content: bytes, name: str = "street.png", kind: str = "image/png") -> None:
    page.set_input_files("#file", {"name": name, "mimeType": kind, "buffer": content})


def labelled(page) -> str:
    until(page, "document.getElementById('status').textContent.startsWith('Labelled in')")
    return page.text_content("#status")


def overlay_pixel(page, x: int, y: int) -> list[int]:
    script = "([x, y]) => [...document.getElementById('overlay').getContext('2d').getImageData(x, y, 1, 1).data]"
    return page.evaluate(script, [x, y])


def shot(page, name: str) -> None:
    if folder := os.environ.get("EDGEAILITE_SCREENSHOTS"):
        Path(folder).mkdir(parents=True, exist_ok=True)
        page.screenshot(path=str(Path(folder) / f"{name}.png"))


def shown_picture() -> bytes:
    path = os.environ.get("EDGEAILITE_SHOW_PICTURE")
    return Path(path).read_bytes() if path else picture(height=300, width=600)


# --- seeing and changing a result


def test_upload_gives_the_labels_of_the_service(server, visit):
    page = visit()
    data = picture(height=61, width=83)
    upload(page, data)
    assert "network" in labelled(page)
    labels = pixels(server.predict(data, "?output=labels").body)
    script = "[...document.getElementById('overlay').getContext('2d').getImageData(0, 0, 83, 61).data]"
    seen = np.array(page.evaluate(script), np.uint8).reshape(61, 83, 4)
    if not os.environ.get("EDGEAILITE_SHOW_MODEL"):
        assert (seen[..., :3] == np.array(PALETTE, np.uint8)[labels]).all()
    assert (seen[..., 3] == 255).all()
    assert "83 × 61" in page.text_content("#caption")


def test_opacity_and_toggles(visit):
    page = visit()
    upload(page, picture(height=61, width=83))
    labelled(page)
    page.fill("#opacity", "25")
    assert page.evaluate("getComputedStyle(document.getElementById('overlay')).opacity") == "0.25"
    assert page.text_content("#percent") == "25 %"
    page.focus("#opacity")
    page.keyboard.press("ArrowRight")
    assert page.text_content("#percent") == "26 %"
    before = overlay_pixel(page, 5, 5)
    assert before[3] == 255
    page.click("#none")
    assert overlay_pixel(page, 5, 5)[3] == 0
    boxes = page.locator("#legend input")
    for index in range(boxes.count()):  # with the keyboard alone
        boxes.nth(index).focus()
        page.keyboard.press("Space")
    assert overlay_pixel(page, 5, 5) == before
    page.click("#none")
    page.click("#all")
    assert overlay_pixel(page, 5, 5) == before


@pytest.mark.skipif("EDGEAILITE_SHOW_MODEL" in os.environ, reason="its classes are others")
def test_legend_has_shares_and_names_as_text(server, visit):
    page = visit()
    data = picture()
    upload(page, data, name="<img src=x onerror=alert(1)>.png")
    labelled(page)
    assert page.locator("#legend img, #legend b, #caption img").count() == 0
    assert page.text_content("#caption").startswith("<img src=x onerror=alert(1)>.png")
    rows = {name: page.locator("#legend .name", has_text=name).count() for name in CLASSES}
    assert rows == dict.fromkeys(CLASSES, 1)
    labels = pixels(server.predict(data, "?output=labels").body)
    shares = [f"{100 * (labels == index).mean():.1f} %" for index in range(len(CLASSES))]
    shown = {share.text_content() for share in page.locator("#legend .share").all()}
    assert {share for share in shares if share != "0.0 %"} <= shown


def test_another_model_labels_the_same_picture(visit):
    page = visit()
    upload(page, picture())
    labelled(page)
    before = page.evaluate("document.getElementById('overlay').toDataURL()")
    page.select_option("#model", "other")
    until(page, "b => document.getElementById('overlay').toDataURL() !== b", arg=before)
    labelled(page)


def test_the_verdict_is_that_of_the_model_shown(visit):
    page = visit()
    if not os.environ.get("EDGEAILITE_SHOW_MODEL"):
        assert page.text_content("#verdict") == "not proven"
    page.select_option("#model", "other")
    assert page.text_content("#verdict") == "✓ proven" and page.is_visible("#verdict")
    assert page.text_content("#proof").startswith("This machine gives the proven answers to 1 picture of contract.json")
    shot(page, "proven")


def test_saving(server, visit):
    page = visit()
    upload(page, picture())
    labelled(page)
    with page.expect_download() as found:
        page.click("#save-labels")
    assert Path(found.value.path()).read_bytes() == server.predict(picture(), "?output=labels&model=first").body
    with page.expect_download() as found:
        page.click("#save-overlay")
    assert pixels(Path(found.value.path()).read_bytes()).shape[:2] == (48, 80)


# --- pictures from elsewhere


def test_camera(visit):
    page = visit()
    page.click("#shoot")
    until(page, "document.getElementById('video').videoWidth > 0")
    shot(page, "camera")
    page.click("#take")
    labelled(page)
    assert page.text_content("#caption").startswith("camera")
    assert not page.evaluate("document.getElementById('camera').open")


def test_camera_cancelled_by_the_keyboard(visit):
    page = visit()
    page.focus("#shoot")
    page.keyboard.press("Enter")
    until(page, "document.getElementById('video').videoWidth > 0")
    page.keyboard.press("Escape")
    until(page, "!document.getElementById('camera').open")
    assert page.evaluate("document.getElementById('video').srcObject") is None
    assert page.text_content("#status") == "Ready"


def test_dropped_and_pasted_files(visit):
    page = visit()
    for kind, holder in (("drop", "dataTransfer"), ("paste", "clipboardData")):
        page.evaluate(
            """async ([kind, holder, bytes]) => {
              const transfer = new DataTransfer();
              transfer.items.add(new File([new Uint8Array(bytes)], `${kind}ed.png`, { type: 'image/png' }));
              const event = new Event(kind, { bubbles: true, cancelable: true });
              Object.defineProperty(event, holder, { value: transfer });
              document.dispatchEvent(event);
            }""",
            [kind, holder, list(picture())],
        )
        until(page, "k => document.getElementById('caption').textContent.includes(k)", arg=kind)
        labelled(page)


def test_large_pictures_are_made_smaller(visit):
    page = visit()
    upload(page, picture(".jpg", height=1500, width=2000), "large.jpg", "image/jpeg")
    labelled(page)
    assert "made smaller" in page.text_content("#caption")


def turned_jpeg(height: int, width: int) -> bytes:
    """A JPEG that asks to be turned by a quarter (EXIF orientation 6)."""
    data = picture(".jpg", height=height, width=width)
    tiff = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
    exif = b"Exif\0\0" + tiff
    return data[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif + data[2:]


def test_turned_pictures_are_sent_upright(visit):
    page = visit()
    upload(page, turned_jpeg(40, 90), "phone.jpg", "image/jpeg")
    labelled(page)
    assert "40 × 90 · turned upright" in page.text_content("#caption")


# --- what goes wrong


def test_a_file_that_is_no_picture(visit):
    page = visit()
    upload(page, b"hello", "notes.png")
    page.wait_for_selector("#error:not([hidden])")
    assert "cannot show this file" in page.text_content("#reason")
    shot(page, "error")
    upload(page, picture())
    labelled(page)
    assert page.is_hidden("#error")


def test_a_service_that_refuses(visit):
    page = visit(expected_errors=True)
    page.route(
        "**/predict*",
        lambda route: route.fulfill(
            status=503,
            headers={"Retry-After": "1", "Content-Type": "application/problem+json"},
            body='{"error": "busy", "message": "<b>16 requests</b> are waiting; try again", "status": 503}',
        ),
    )
    upload(page, picture())
    page.wait_for_selector("#error:not([hidden])")
    assert page.text_content("#reason") == "<b>16 requests</b> are waiting; try again (in 1 s)"
    page.unroute("**/predict*")
    page.click("#again")
    labelled(page)


def test_a_service_that_is_gone(visit):
    page = visit(expected_errors=True)
    page.route("**/predict*", lambda route: route.abort())
    upload(page, picture())
    page.wait_for_selector("#error:not([hidden])")
    assert page.text_content("#reason") == "The service cannot be reached."


def test_a_token_is_asked_for(visit):
    page = visit(expected_errors=True)
    page.route(
        "**/predict*",
        lambda route: (
            route.continue_() if "authorization" in route.request.headers else route.fulfill(status=401, body="{}")
        ),
    )
    upload(page, picture())
    page.wait_for_selector("#locked[open]")
    page.fill("#token", "correct horse")
    page.keyboard.press("Enter")
    labelled(page)


# --- looks


def problems(page) -> list[str]:
    """Findings of axe that are serious or critical."""
    spec = importlib.util.find_spec("axe_playwright_python")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("needs axe-playwright-python")
    source = (Path(spec.submodule_search_locations[0]) / "axe.min.js").read_text()
    page.evaluate(source)  # through the debugger: the page's policy would not let it in
    found = page.evaluate("axe.run()")
    return [f"{v['id']}: {v['nodes'][0]['html']}" for v in found["violations"] if v["impact"] in SERIOUS]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_accessible_and_inside_the_screen(visit, size, scheme):
    page = visit(size, scheme, touch=size is PHONE)
    name = f"{'phone' if size is PHONE else 'desktop'}-{scheme}"
    shot(page, f"{name}-empty")
    found = problems(page)
    upload(page, shown_picture())
    labelled(page)
    shot(page, name)
    found += problems(page)
    assert not found
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    targets = page.locator("button:visible, select:visible, #legend label, input[type=range]:visible, a.button:visible")
    heights = [box["height"] for target in targets.all() if (box := target.bounding_box())]
    assert min(heights) >= 44


def test_everything_can_be_reached_by_keyboard(visit):
    page = visit()
    upload(page, picture())
    labelled(page)
    reached = set()
    page.evaluate("document.activeElement.blur()")
    for _ in range(25):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.id || document.activeElement.type"))
    assert {"choose", "shoot", "model", "opacity", "checkbox", "all", "none", "save-labels", "save-overlay"} <= reached
