"""Both ways of reading a reply against hand-worked cases, and both ways of making a percentage."""

import json
from pathlib import Path

import pytest

from coin_lightning.errors import ConfigError
from coin_lightning.evaluation.judges.parsing import VARIANTS, parser, percent, reference_score, strict_score

CASES = json.loads((Path(__file__).parent / "golden" / "replies.json").read_text(encoding="utf-8"))


def test_the_golden_cases_are_broad():
    assert len(CASES) >= 80
    assert len({case["reply"] for case in CASES}) == len(CASES)
    for variant in VARIANTS:
        read = [case for case in CASES if case[variant] is not None]
        assert len(read) >= 40
        assert len(CASES) - len(read) >= 20
    assert sum(case["strict"] != case["reference"] for case in CASES) >= 30


@pytest.mark.parametrize("case", CASES, ids=lambda case: repr(case["reply"]))
@pytest.mark.parametrize("variant", VARIANTS)
def test_golden(case: dict, variant: str):
    assert parser(variant)(case["reply"]) == case[variant], case["why"]


@pytest.mark.parametrize("number", [0, 1, 5, 9, 10])
@pytest.mark.parametrize(
    "frame", ["{}", " {} ", "{}/10", "Score: {}", "**{}**", "({})", "{}.", "The final score is {}"]
)
def test_every_documented_form_carries_every_number(number: int, frame: str):
    assert strict_score(frame.format(number)) == number


@pytest.mark.parametrize(
    "reply", ["8 " * 50_000, "Score: " * 20_000, "(" * 100_000, "9" * 100_000, "the " * 50_000, "*" * 99_999]
)
def test_a_very_long_reply_is_read_at_once(reply: str):
    assert strict_score(reply) is None
    assert reference_score(reply) in (None, 8.0)


def test_an_unknown_variant_is_refused():
    with pytest.raises(ConfigError, match=r"judge\.variant='loose' is unknown; use strict or reference"):
        parser("loose")


def test_strict_percent_is_the_mean_of_what_could_be_read():
    assert percent([10.0, 5.0, None, 0.0], "strict") == 50.0
    assert percent([7.0], "strict") == 70.0
    assert percent([1.0, 2.0, 2.0], "strict") == pytest.approx(100 * 5 / 30)
    assert percent([None, None], "strict") is None
    assert percent([], "strict") is None


def test_reference_percent_is_whole_and_divides_by_all():
    assert percent([10.0, 5.0, None, 0.0], "reference") == 38.0  # 37.5, to the even neighbour
    assert percent([10.0, 2.5, None, 0.0], "reference") == 31.0  # 31.25
    assert percent([1.0, 2.0, 2.0], "reference") == 17.0  # 16.67
    assert percent([None, None], "reference") == 0.0
    assert percent([-3.0, 1.0], "reference") == -10.0
    assert percent([0.25, 0.0], "reference") == 1.0  # 1.25
    assert percent([0.5], "reference") == 5.0
    assert percent([], "reference") is None


def test_reference_percent_rounds_half_to_even_like_python():
    assert percent([0.1, 0.4, 0.0, 0.0], "reference") == 1.0  # 1.25
    assert percent([0.5, 0.5, 0.0, 0.0], "reference") == 2.0  # 2.5
    assert percent([1.0, 0.4, 0.0, 0.0], "reference") == 3.0  # 3.4999999999999996 in the published order of operations
