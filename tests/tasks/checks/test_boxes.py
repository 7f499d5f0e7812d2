"""Boxes against hand-worked frames."""

from pathlib import Path

import pytest

from coin_lightning.tasks.checks.boxes import (
    Boxes,
    BoxSample,
    check_boxes,
    frame_problem,
    padded,
    read_box,
    read_size,
)
from coin_lightning.tasks.checks.findings import Findings
from coin_lightning.tasks.image_ledger import ImageFacts

WIDE = {"a.jpg": ImageFacts(200, 100, b"")}
"""In the padded square it fills the middle half: y from 0.25 to 0.75."""


@pytest.mark.parametrize(
    ("value", "box"),
    [
        ("[0.1,0.2,0.3,0.4]", (0.1, 0.2, 0.3, 0.4)),
        (" [0, 0.2, 1, .4] ", (0, 0.2, 1, 0.4)),
        ([0.1, 0.2, 0.3, 1], (0.1, 0.2, 0.3, 1)),
        ("0.1,0.2,0.3,0.4", (0.1, 0.2, 0.3, 0.4)),
        ("[0.1,0.2,0.3]", None),
        ("[0.1,0.2,0.3,0.4,0.5]", None),
        ("[0.1,0.2,0.3,x]", None),
        ("[0.1,0.2,0.3,nan]", None),
        ("[0.1,0.2,0.3,1e999]", None),
        ("", None),
        (None, None),
        ([0.1, None, 0.3, 0.4], None),
        ([[0.1], 0.2, 0.3, 0.4], None),
    ],
)
def test_a_box_is_four_finite_numbers(value, box):
    assert read_box(value) == box


@pytest.mark.parametrize(
    ("value", "size"),
    [([640, 480], (640, 480)), ([640], None), ([0, 480], None), ("640", None), (None, None), (["640", "480"], None)],
)
def test_a_size_is_two_positive_numbers(value, size):
    assert read_size(value) == size


@pytest.mark.parametrize(
    ("box", "kind"),
    [
        ((0, 0, 1, 1), None),
        ((0.1, 0.2, 0.3, 0.4), None),
        ((-0.01, 0.2, 0.3, 0.4), "box_outside"),
        ((0.1, 0.2, 0.3, 1.01), "box_outside"),
        ((0.3, 0.2, 0.1, 0.4), "box_outside"),
        ((0.1, 0.4, 0.3, 0.2), "box_outside"),
        ((0.1, 0.2, 0.1, 0.4), "box_flat"),
        ((0.1, 0.2, 0.3, 0.2), "box_flat"),
    ],
)
def test_frame(box, kind):
    assert frame_problem(box) == kind


def test_padding_by_hand():
    assert padded((0, 0, 1, 1), 200, 100) == (0, 0.25, 1, 0.75)
    assert padded((0.5, 0.5, 1, 1), 200, 100) == (0.5, 0.5, 1, 0.75)
    assert padded((0, 0, 1, 1), 100, 400) == (0.375, 0, 0.625, 1)
    assert padded((0.2, 0.3, 0.4, 0.5), 50, 50) == (0.2, 0.3, 0.4, 0.5)


def found(sample: BoxSample) -> dict[str, list[str]]:
    findings = Findings()
    check_boxes(Boxes("test", [sample]), WIDE, Path("test.json"), findings)
    return {each.kind: each.examples for each in findings.listed()}


def test_a_box_that_agrees_with_its_image():
    sample = BoxSample(3, "a.jpg", (0.5, 0.5, 1, 0.75), origin=(0.5, 0.5, 1, 1), size=(200, 100))
    assert found(sample) == {}


def test_rounding_to_two_decimals_is_no_disagreement():
    assert found(BoxSample(3, "a.jpg", (0.5, 0.24, 1, 0.76), origin=(0.5, 0, 1, 1))) == {}


@pytest.mark.parametrize(("size", "text"), [((100, 200), "swapped"), ((640, 480), "size [640, 480], the image is")])
def test_a_size_of_another_image(size, text):
    (line,) = found(BoxSample(3, "a.jpg", (0.5, 0.5, 1, 0.75), size=size))["image_size"]
    assert line.startswith("test.json sample 3: ")
    assert text in line
    assert "200 x 100" in line


def test_a_box_in_the_padding_was_written_in_another_frame():
    (line,) = found(BoxSample(3, "a.jpg", (0, 0, 1, 1)))["box_in_padding"]
    assert "fills [0.0, 0.25, 1.0, 0.75] of the frame" in line


def test_both_boxes_must_be_the_same_place():
    kinds = found(BoxSample(3, "a.jpg", (0.5, 0.5, 1, 0.75), origin=(0.5, 0.5, 1, 0.75)))
    assert list(kinds) == ["box_frames"]
    assert "becomes [0.5, 0.5, 1.0, 0.625]" in kinds["box_frames"][0]


def test_an_original_box_in_pixels_is_not_compared():
    assert found(BoxSample(3, "a.jpg", (0.5, 0.5, 1, 0.75), origin=(100, 50, 200, 100))) == {}


def test_without_a_image_there_is_nothing_to_compare():
    assert found(BoxSample(3, None, (0, 0, 1, 1))) == {}
    assert found(BoxSample(3, "gone.jpg", (0, 0, 1, 1), size=(3, 3))) == {}


def test_areas():
    samples = [BoxSample(0, None, box) for box in ((0, 0, 0.5, 0.5), (0.1, 0.1, 0.1, 0.4), (-1, 0, 3, 1))]
    assert Boxes("test", samples).areas().tolist() == [0.25, 0, 1]
    assert Boxes("test").areas().tolist() == []
