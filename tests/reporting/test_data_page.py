"""The page of a data check: self-contained, escaped, complete."""

import base64
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from data_report import ROOT, expected, finding, image, report, task
from PIL import Image
from readings import boxes, texts

from coin_lightning.reporting.data_page import answer_bars, length_chart, render_data_page, write_data_page
from coin_lightning.reporting.drawing import BLUE, ORANGE, Shape

SHOWN = {"split": "train", "id": "7", "image": None, "question": "<image>\nWho?\nShort.", "answer": "<i>me</i>",
          "box": None, "more": 0}  # fmt: skip


class Links(HTMLParser):
    """Collects whatever a page would fetch, and checks that elements are closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag, attributes):
        self.fetched += [
            value for key, value in attributes if key in ("src", "href") and not value.startswith(("#", "data:"))
        ]
        if tag not in ("meta", "link", "img", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        """Closes itself."""

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def parsed(page: str) -> Links:
    links = Links()
    links.feed(page)
    assert links.open == []
    return links


def test_a_page_of_everything_asks_for_nothing_else(tmp_path):
    findings = [
        finding("error", "image", 30, *(f"{ROOT}/a{at}.png" for at in range(20))),
        finding("note", "x", 1, "y"),
    ]
    levels = {"error": 1, "warning": 0, "note": 1}
    shown = [{**SHOWN, "image": image(tmp_path)}, SHOWN]
    page = render_data_page(report(task("gqa", tmp_path, findings=findings, levels=levels, shown=shown)))
    assert parsed(page).fetched == []
    assert "url(" not in page
    assert "Not ready: coin has 1 error" in page
    assert "and 10 more" in page
    assert ROOT not in page
    assert str(tmp_path) not in page


def test_sound_data_are_called_ready(tmp_path):
    page = render_data_page(report(task("scienceqa", tmp_path), task("gqa", tmp_path)))
    assert "Ready: coin may be trained on" in page
    assert "Nothing was found" in page
    assert page.count('<section id="scienceqa">') == page.count('<section id="gqa">') == 1
    assert "12 726" in page
    assert "25 452" in page  # both tasks together
    assert "75.0 %" in page
    assert "25.0 % never occur in training" in page


def test_texts_of_the_data_are_escaped(tmp_path):
    page = render_data_page(report(task("gqa", tmp_path, shown=[SHOWN])))
    assert "<i>me</i>" not in page
    assert "&lt;i&gt;me&lt;/i&gt;" in page
    assert "&lt;b&gt;no&lt;/b&gt;" in page
    assert "&lt;image&gt;" not in page


def test_where_numbers_come_from(tmp_path):
    known = {"train": [expected(20000, False, True, certainty="from memory", source="remembered")], "test": []}
    page = re.sub(r"\s+", " ", render_data_page(report(task("vizwiz", tmp_path, expected=known))))
    assert "about 20 000" in page
    assert "remembered (no source at hand)" in page
    assert "not known" in page


def test_a_grounding_sample_shows_its_box(tmp_path):
    box = {
        **SHOWN,
        "image": image(tmp_path, size=(100, 50)),
        "answer": "[0.1,0.3,0.5,0.7]",
        "box": "[0.1,0.3,0.5,0.7]",
    }
    balance = task("grounding", tmp_path)["balance"]["train"] | {"boxes": True, "top": [("0 to 1 % of the frame", 4)]}
    page = render_data_page(report(task("grounding", tmp_path, shown=[box], balance={"train": balance})))
    (data,) = re.findall(r'src="data:image/jpeg;base64,([^"]+)"', page)
    shown = Image.open(io.BytesIO(base64.b64decode(data)))
    assert shown.size == (100, 50)
    assert min(shown.getpixel((10, 20))) > 180 or max(shown.getpixel((10, 20))) < 90  # the drawn frame, not the grey
    assert abs(shown.getpixel((80, 40))[0] - 128) < 12
    assert "boxes are drawn" in page
    assert "How much of the padded square they cover" in page


def test_a_image_that_is_gone_is_said_to_be(tmp_path):
    page = render_data_page(report(task("gqa", tmp_path, shown=[{**SHOWN, "image": "gone.png"}])))
    assert "image cannot be shown" in page


def test_an_unreadable_task_still_has_a_page(tmp_path):
    bare = task(
        "gqa", tmp_path, counts={"train": None, "test": None}, expected={"train": [], "test": []}, balance={},
        lengths={}, images={"distinct": 0, "sound": 0}, levels={"error": 2, "warning": 0, "note": 0},
        findings=[finding("error", "samples", 1, f"{ROOT}/train.json: file is missing")],
    )  # fmt: skip
    page = render_data_page(report(bare))
    parsed(page)
    assert "train.json: file is missing" in page


def test_answer_bars_are_shares_of_all_and_as_wide_as_the_longest():
    bars = answer_bars({"count": 10, "top": [("yes", 4), ("no", 1)]})
    assert [(bar["text"], bar["share"], bar["width"]) for bar in bars] == [("yes", 40, 100), ("no", 10, 25)]
    assert answer_bars({"count": 0, "top": []}) == []
    assert answer_bars({"count": 0, "top": [("0 to 1 %", 0)]})[0]["width"] == 0


def test_length_chart_marks_what_exceeds_the_limit():
    drawing = length_chart({"limit": 2, "histogram": [0, 8, 4, 0, 2, 0]}, "train")
    (one, two), (four,) = boxes(drawing, BLUE), boxes(drawing, ORANGE)
    assert [round((bottom - top) / (one[3] - one[1]), 3) for _, top, _, bottom in (one, two, four)] == [1, 0.5, 0.25]
    (limit,) = (mark.points[0][0] for mark in drawing.marks if isinstance(mark, Shape) and mark.dashed)
    assert one[2] < two[0] < two[2] < limit < four[0] < four[2] < drawing.width
    assert texts(drawing) == ["limit 2", "0"]
    assert drawing.description == "1 tokens: 8 answers, 2 tokens: 4 answers, 4 tokens: 2 answers"


def test_a_chart_without_answers_still_has_its_limit():
    drawing = length_chart({"limit": 4, "histogram": [0] * 9}, "test")
    assert boxes(drawing, BLUE) == boxes(drawing, ORANGE) == []
    assert "limit 4" in texts(drawing)


def test_page_and_figures_are_written_together(tmp_path):
    content = report(task("gqa", tmp_path))
    page = write_data_page(content, tmp_path / "deep" / "Instructions_Original.html")
    assert page.read_text().startswith("<!doctype html>")
    assert json.loads(page.with_suffix(".json").read_text()) == json.loads(json.dumps(content))
    with pytest.raises(OSError, match="File exists"):
        write_data_page(content, page / "page.html")


def test_nothing_is_left_out_of_the_package():
    templates = Path(__file__).parents[2] / "src" / "coin_lightning" / "reporting" / "templates"
    assert {"data.html.j2", "data.css.j2"} <= {file.name for file in templates.iterdir()}
