"""The report as a file: complete in itself, escaped, small, accessible, and honest about numbers."""

import itertools
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np

from edgeailite.drawing.html import Figure
from edgeailite.drawing.plots import class_bars
from edgeailite.metrics import DepthScores
from edgeailite.modelcard import ModelCard
from edgeailite.preprocessing import Preprocessing
from edgeailite.report.page import LIMIT, class_rows, render
from edgeailite.report.record import ClassResult, DepthResult, Example, FormScores, Grid, Parity, Report, Verdict

CARD = ModelCard(
    "some_model", {"segmentation": 3}, ("road", "<b>sky", "never"), ((1, 2, 3), (0, 255, 0), (9, 9, 9)),
    Preprocessing(64, 96), "streets",
)  # fmt: skip
CONFUSION = np.array([[30, 10, 0], [0, 60, 0], [0, 0, 0]])
LEVEL = {"pictures": 8, "equal_argmax": 1.0}
PNG = class_bars(["a"], [0.5], [(1, 2, 3)])
RESULT = ClassResult("segmentation", CARD.classes, CARD.palette, CONFUSION, ("7", "<i>8", ""))
REPORT = Report(CARD, "float", "val", 2, [RESULT], facts=[("date", "today")])
SECTIONS = ("summary", "data", "learning", "accuracy", "quantization", "sensitivity", "cost", "parity", "files")


def example(side: int, name: str = "worst.png") -> Example:
    noise = np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8)
    return Example(name, "mIoU 12.3 %", noise, noise, noise, noise)


def with_examples(*examples: Example) -> Report:
    return replace(REPORT, results=[replace(RESULT, examples=examples)])


def full() -> Report:
    """Everything a report can have, with markup in whatever is somebody's text."""
    rows = [("<b>name_of", "<b>value")]
    return replace(
        REPORT,
        results=[
            replace(RESULT, examples=[example(32, "<b>.png")]),
            DepthResult("depth", DepthScores(0.125, 3.5), [example(32)]),
        ],
        verdicts=[Verdict("good", "<b>fine"), Verdict("open", "?"), Verdict("bad", "!")],
        tiles=rows,
        data=rows,
        curves=(PNG, "<b>curves"),
        training=rows,
        forms=(["<b>mIoU"], [FormScores("<b>float", ["1"]), FormScores("exact", note="<b>not measured")]),
        quantization=rows,
        sensitivity=(Figure("data:image/png;base64,", "<b>bars", 10), Grid(("<b>sqnr",), [("<b>layer", ["1"])])),
        cost=rows,
        devices=Grid(("ms",), [("<b>device", ["1"])]),
        parity=[Parity("<b>.onnx", "<b>state", {"<b>ALL": LEVEL, "EXTENDED": LEVEL})],
        config=rows,
        environment=rows,
        hashes=rows,
        commands=["edgeailite train --x '<b>'"],
        missing={"files": "<b>missing"},
    )


class Tags(HTMLParser):
    """Checks nesting, and keeps what is asked of a page."""

    def __init__(self, html: str):
        super().__init__()
        self.open: list[str] = []
        self.sources: list[str] = []
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.sources += [value for name, value in attrs if name in ("src", "href")]
        self.found.append((tag, dict(attrs)))
        if tag not in ("meta", "img", "wbr"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += f"{data} "

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.found if name == tag]


def test_the_file_is_complete_in_itself():
    page = Tags(html := render(full()))
    assert page.open == []
    inside = {f"#{attributes['id']}" for _, attributes in page.found if "id" in attributes}
    assert len([source for source in page.sources if source.startswith("data:image/")]) == 4 + 2 * 4
    assert all(source.startswith("data:image/") or source in inside for source in page.sources)
    for remote in ("<script", "url(", "@import", "http:", "https:", "<link", "srcset"):
        assert remote not in html, remote


def test_names_are_text_not_markup():
    html = render(full())
    assert "<b>Proven." in html  # ours
    assert set(re.findall(r"<b>[^<]{1,12}", html)) == {"<b>Proven.", "<b>Not proven.", "<b>Not valid."}
    assert "<i>8" not in html
    for text in ("<b>sky", "<b>value", "<b>.onnx", "<b>missing", "<b>layer", "<b>not measured"):
        assert text in Tags(html).text, text


def test_accessible():
    """What a checker would ask of the markup: language, headings in order, alternatives, scopes, names of regions."""
    page = Tags(render(full()))
    assert page.of("html") == [{"lang": "en"}]
    assert len(page.of("main")) == len(page.of("h1")) == 1
    levels = [int(tag[1]) for tag, _ in page.found if re.fullmatch(r"h\d", tag)]
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    assert all(image["alt"] for image in page.of("img"))
    assert all(head.get("scope") in ("row", "col") for head in page.of("th"))
    ids = [attributes["id"] for _, attributes in page.found if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert all(section["aria-labelledby"] in ids for section in page.of("section"))
    assert all(region["aria-label"] for region in page.of("div") if region.get("role") == "region")


def test_light_dark_and_print():
    html = render(REPORT)
    assert '<meta name="color-scheme" content="light dark">' in html
    assert "@media screen and (prefers-color-scheme: dark)" in html  # paper stays white
    assert "@media print" in html


def test_numbers_of_the_confusion_matrix():
    text = re.sub(r"\s+", " ", Tags(render(REPORT)).text)
    assert "mIoU, % 80.4 pixel accuracy, % 90.0" in text  # IoU 75.0 and 85.7
    assert "overall score 85.18 %" in text
    assert "absent here and left out: never" in text
    road, sky, never = class_rows(RESULT)
    assert road == {
        "name": "road",
        "color": "#010203",
        "values": "7",
        "iou": "75.0",
        "recall": "75.0",
        "precision": "100.0",
        "share": "40.00",
    }
    assert sky["precision"] == "85.7"
    assert never["iou"] == never["recall"] == never["precision"] == "–"


def test_several_outputs_have_a_section_and_a_number_each():
    text = re.sub(r"\s+", " ", Tags(render(full())).text)
    for part in (
        "segmentation mIoU, % 80.4",
        "depth ARD, % 12.5",
        "Output depth",
        "RMSE 3.50 m",
        "Worst pictures, depth",
    ):
        assert part in text, part


def test_every_section_is_there_and_says_what_is_missing():
    html = render(replace(REPORT, missing=dict.fromkeys(SECTIONS, "nothing here")))
    for section in SECTIONS:
        assert f'<h2 id="{section}">' in html, section
    assert html.count("nothing here") == len(SECTIONS) - len(("summary", "accuracy"))


def test_many_large_pictures_still_give_a_small_file():
    """Noise is the hardest thing to compress."""
    html = render(with_examples(*[example(700)] * 8))
    assert 3_000_000 < len(html.encode()) <= LIMIT
    assert "Pictures are at most" in html


def test_what_does_not_fit_at_all_is_left_out_and_said(monkeypatch):
    monkeypatch.setattr("edgeailite.report.page.LIMIT", 500_000)
    html = render(with_examples(*[example(160)] * 6))
    assert len(html.encode()) <= 500_000
    assert re.search(r"[0-5] of 6 fit into the file", html)
