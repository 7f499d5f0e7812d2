"""Parts of the data sets, and their scores."""

import pytest

from coin_lightning.evaluation.breakdown import answer_type_parts, breakdown, scienceqa_parts

NAT, SOC = "natural science", "social science"


@pytest.mark.parametrize(
    ("reference", "parts"),
    [
        ({}, ["text only"]),
        ({"image": "1/image.png", "subject": NAT}, ["image", NAT]),
        ({"subject": SOC, "hint": False, "grade": "grade6"}, ["text only", "no context", SOC, "grades 1-6"]),
        ({"hint": True, "grade": "grade7"}, ["text only", "text context", "grades 7-12"]),
        ({"image": "x.png", "hint": False}, ["image"]),
        ({"image": "x.png", "hint": True, "grade": ""}, ["image", "text context"]),
    ],
)
def test_parts_of_a_scienceqa_sample(reference, parts):
    assert scienceqa_parts(reference) == parts


def test_answer_types_are_taken_where_they_are_known():
    assert [answer_type_parts({"answer_type": kind}) for kind in ("yes/no", "", None)] == [["yes/no"], [], []]
    assert answer_type_parts({}) == []


def test_scores_of_parts():
    references = [{"subject": SOC}, {"subject": NAT, "image": "a"}, {"subject": NAT}, {"subject": NAT, "image": "b"}]
    first = breakdown(scienceqa_parts, references, (1.0, 1.0, None, 0.0))
    assert list(first) == ["image", "text only", NAT, SOC]
    assert first["image"] == {"score": 50.0, "count": 2}
    assert first["text only"] == {"score": 50.0, "count": 2}
    assert first[NAT] == {"score": pytest.approx(100 / 3), "count": 3}
    second = breakdown(scienceqa_parts, references, (0.0, 1.0, 1.0, None))
    assert [second[part]["score"] for part in ("image", "text only", SOC)] == [50.0, 50.0, 0.0]


def test_without_parts_or_scores_of_records_there_is_none():
    assert breakdown(None, [{}, {}], (1.0, 0.0)) == {}
    assert breakdown(answer_type_parts, [{}], (1.0,)) == {}
    assert breakdown(answer_type_parts, [{"answer_type": "number"}], None) == {}
