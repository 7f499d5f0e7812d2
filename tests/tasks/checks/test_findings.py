"""Counting cases and keeping some of them."""

import pytest

from coin_lightning.errors import ConfigError
from coin_lightning.tasks.checks.findings import EXAMPLES, KINDS, LEVELS, Findings


def test_all_cases_are_counted_and_twenty_kept():
    findings = Findings()
    for number in range(50):
        findings.add("image", "train", f"case {number}")
    findings.add("image", "test", "another file")
    train, test = findings.listed()
    assert (train.count, len(train.examples), train.examples[-1]) == (50, EXAMPLES, f"case {EXAMPLES - 1}")
    assert train.text == "50 images missing or broken"
    assert (test.split, test.count, test.examples) == ("test", 1, ["another file"])


def test_many_cases_at_once():
    findings = Findings()
    findings.add("samples", "train", "first")
    findings.add_all("samples", "train", 300, [f"line {number}" for number in range(30)])
    findings.add_all("truth", "test", 0, [])
    (found,) = findings.listed()
    assert (found.count, len(found.examples), found.examples[1]) == (301, EXAMPLES, "line 0")


def test_errors_come_first_then_the_order_of_the_table():
    findings = Findings()
    for kind in ("repeated_question", "shared_id", "long_sample", "image"):
        findings.add(kind, "test", "x")
    assert [each.kind for each in findings.listed()] == ["image", "long_sample", "shared_id", "repeated_question"]
    assert [findings.count(level) for level in LEVELS] == [2, 1, 1]


def test_an_error_can_be_tolerated():
    findings = Findings(["shared_question"])
    findings.add("shared_question", "test", "x")
    findings.add("shared_text", "test", "x")
    assert {each.kind: each.level for each in findings.listed()} == {
        "shared_text": "error",
        "shared_question": "warning",
    }


@pytest.mark.parametrize("kind", ["shared_questions", "shared_id"])
def test_only_kinds_of_errors_can_be_tolerated(kind):
    with pytest.raises(ConfigError, match=f"tolerate={kind}: no such kind of error; choose from samples, truth, image"):
        Findings([kind])


def test_every_kind_has_a_known_level():
    assert {kind.level for kind in KINDS.values()} == set(LEVELS)
