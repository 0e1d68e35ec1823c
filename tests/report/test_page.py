"""The report as a file: complete in itself, escaped, small, and honest about numbers."""

import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from edgeailite.modelcard import ModelCard
from edgeailite.preprocessing import Preprocessing
from edgeailite.report import Example, Parity, Report, class_rows, flatten, percent, render, tabulate

CARD = ModelCard(
    "some_model", {"segmentation": 3}, ("road", "<b>sky", "never"), ((1, 2, 3), (0, 255, 0), (9, 9, 9)),
    Preprocessing(64, 96), "streets",
)  # fmt: skip
CONFUSION = np.array([[30, 10, 0], [0, 60, 0], [0, 0, 0]])
LEVEL = {"pictures": 8, "equal_argmax": 1.0}
REPORT = Report(CARD, "float", "val", CONFUSION, pictures=2, facts=[("date", "today")])


def example(side: int) -> Example:
    noise = np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8)
    return Example("worst.png", 0.123, noise, noise, noise, noise)


class Tags(HTMLParser):
    """Checks nesting, and keeps what is asked of a page."""

    def __init__(self, html: str):
        super().__init__()
        self.open: list[str] = []
        self.sources: list[str] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.sources += [value for name, value in attrs if name in ("src", "href")]
        if tag not in ("meta", "img", "wbr"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += f"{data} "


def test_the_file_is_complete_in_itself():
    page = Tags(html := render(replace(REPORT, examples=[example(64)])))
    assert page.open == []
    assert len(page.sources) == 2 + 4
    assert all(source.startswith("data:image/") for source in page.sources)
    assert "<script" not in html
    assert "url(" not in html
    assert "@import" not in html


def test_names_are_text_not_markup():
    html = render(REPORT)
    assert "<b>sky" not in html
    assert "<b>sky" in Tags(html).text


def test_numbers_of_the_confusion_matrix():
    text = re.sub(r"\s+", " ", Tags(render(REPORT)).text)
    assert "mIoU 80.4 pixel accuracy 90.0 overall score 85.2" in text  # IoU 75.0 and 85.7
    assert "absent here and left out: never" in text
    road, sky, never = class_rows(CONFUSION, CARD)
    assert road == {
        "name": "road",
        "color": "#010203",
        "iou": "75.0",
        "recall": "75.0",
        "precision": "100.0",
        "share": "40.00",
    }
    assert sky["precision"] == "85.7"
    assert never["iou"] == never["recall"] == never["precision"] == "–"


def test_sections_appear_with_their_data_only():
    html = render(REPORT)
    for section in ("learning", "worst", "parity", "cost", "setup", "files"):
        assert f'id="{section}"' not in html
    history = [{"epoch": "1", "loss": "2.5", "miou": "", "pixel_accuracy": ""}]
    rows = [("name", "value")]
    full = replace(
        REPORT,
        history=history,
        examples=[example(32)],
        parity=[Parity("model.onnx", "", {"ALL": LEVEL})],
        cost=rows,
        config=rows,
        hashes=rows,
    )
    html = render(full)
    for section in ("learning", "worst", "parity", "cost", "setup", "files"):
        assert f'id="{section}"' in html


def test_many_large_pictures_still_give_a_small_file():
    """Noise is the hardest thing to compress."""
    assert len(render(replace(REPORT, examples=[example(700)] * 8))) < 5_000_000


def test_records_with_the_same_fields_become_one_grid():
    rows, grids = tabulate({"data": "x", "ALL": LEVEL, "kernels": {"wanted": 7}, "sizes": {"96x160": LEVEL}})
    assert rows == [("data", "x"), ("kernels wanted", "7")]
    assert [grid.head for grid in grids] == [("pictures", "equal_argmax")]
    assert grids[0].rows == [("ALL", ["8", "1"]), ("sizes 96x160", ["8", "1"])]


def test_flatten():
    nested = {"a": {"b": {"c": [1, 2]}, "d": None}, "e": True, "f": [], "g": 0.1 + 0.2}
    assert flatten(nested) == [("a.b.c", "1, 2"), ("a.d", "–"), ("e", "yes"), ("f", "–"), ("g", "0.3")]


@pytest.mark.parametrize("value", [0.99999999, 1e-320])
def test_nearly_all_is_not_shown_as_all(value):
    assert float(flatten({"equal": value})[0][1]) == value


def test_percent():
    assert (percent(0.12345), percent(1, digits=2), percent(float("nan"))) == ("12.3", "100.00", "–")
