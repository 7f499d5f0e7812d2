"""Lines of record files that were read before are neither parsed nor scored again, and nothing else changes."""

import json
from pathlib import Path

import pytest

from coin_lightning import manifest
from coin_lightning.errors import DataError
from coin_lightning.evaluation import scored_lines
from coin_lightning.evaluation.records import read_records
from coin_lightning.evaluation.scored_lines import LineReader
from coin_lightning.evaluation.scorer import RuleScorer


def line(number: int, prediction: str, **reference: object) -> str:
    identity = {"task": "gqa", "question_id": f"q{number}", "prompt": "What?", "prediction": prediction}
    return json.dumps(identity | {"reference": {"answer": "ja", **reference}}, ensure_ascii=False) + "\n"


class Counting:
    """A rule that counts what it is asked."""

    def __init__(self, right: str) -> None:
        self.right, self.asked = right, list[str]()

    def __call__(self, prediction: str, reference: object) -> float | None:
        self.asked.append(prediction)
        return None if prediction == "?" else float(prediction == self.right)


def test_equal_lines_are_scored_once_and_unlike_ones_each_by_their_rule(tmp_path: Path):
    first, second = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    first.write_text(line(1, "ja", image="x.png", choices=["ja", "nein"]) + "\n" + line(2, "ja") + line(3, "?"))
    second.write_text(line(2, "nein") + line(1, "ja", image="x.png", choices=["ja", "nein"]))
    rules = {right: Counting(right) for right in ("ja", "nein")}
    scorers = {right: RuleScorer("gqa", right, rule) for right, rule in rules.items()}
    read = LineReader()
    assert read(first, scorers["ja"]) == [("q1", "x.png", 2, 1.0), ("q2", "q2", 0, 1.0), ("q3", "q3", 0, None)]
    assert read(second, scorers["ja"]) == [("q2", "q2", 0, 0.0), ("q1", "x.png", 2, 1.0)]
    assert rules["ja"].asked == ["ja", "ja", "?", "nein"]
    assert [each.score for each in read(second, scorers["nein"])] == [1.0, 0.0]
    assert read(second, scorers["ja"])[0].score == 0.0


def test_no_more_is_remembered_than_may_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    file, rule = tmp_path / "a.jsonl", Counting("ja")
    file.write_text(line(1, "ja") + line(2, "ja"))
    monkeypatch.setattr(scored_lines, "MOST_BYTES", 1)
    read, scorer = LineReader(), RuleScorer("gqa", "own", rule)
    assert read(file, scorer) == read(file, scorer)
    assert len(rule.asked) == 3  # the first line was kept, the second was not


@pytest.mark.parametrize(
    "content",
    [line(1, "ja").encode() + b"{\n[]\n", line(1, "j\xe4").encode("latin-1"), line(1, "ja").encode()[:-20], None],
)
def test_what_cannot_be_read_is_told_as_by_read_records(tmp_path: Path, content: bytes | None):
    file = tmp_path / "a.jsonl"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(DataError) as expected:
        read_records(file)
    with pytest.raises(DataError) as found:
        LineReader()(file, RuleScorer("gqa", "own", Counting("ja")))
    assert str(found.value) == str(expected.value)


def test_an_altered_file_is_found_also_where_all_its_lines_are_known(tmp_path: Path):
    files = [tmp_path / name / "records" / "gqa.jsonl" for name in ("a", "b")]
    for file in files:
        file.parent.mkdir(parents=True)
        file.write_text(line(1, "ja") + line(2, "nein"))
        manifest.record(file.parents[1], [file])
    read, scorer = LineReader(), RuleScorer("gqa", "own", Counting("ja"))
    assert read(files[0], scorer) == read(files[1], scorer)
    files[1].write_text(line(2, "nein") + line(1, "ja"))
    with pytest.raises(DataError, match=r"b/records/gqa.jsonl: is not what was written"):
        read(files[1], scorer)
