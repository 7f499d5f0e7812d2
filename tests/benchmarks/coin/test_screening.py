"""What cannot be written is kept back, counted and told."""

from pathlib import Path

import pytest

from coin_lightning.benchmarks.coin import gqa, screening
from coin_lightning.benchmarks.coin.places import Images
from coin_lightning.benchmarks.coin.raw_sample import Problem, RawSample
from coin_lightning.benchmarks.coin.screening import Problems, screened
from coin_lightning.errors import DataError


def run(tmp_path: Path, *samples: RawSample | Problem, conversations: bool = False) -> tuple[list[RawSample], Problems]:
    (tmp_path / "GQA" / "images").mkdir(parents=True, exist_ok=True)
    (tmp_path / "GQA" / "images" / "1.jpg").touch()
    problems = Problems()
    images = Images(gqa.RAW, tmp_path, tmp_path, "none")
    return list(screened(iter(samples), "q.json", images, problems, conversations)), problems


GOOD = RawSample("1", "GQA/images/1.jpg", "Q?", "a", "1")


def test_good_samples_pass(tmp_path):
    others = (GOOD, RawSample("2", None, "Q?", "b"))
    assert run(tmp_path, *others)[0] == list(others)


@pytest.mark.parametrize(
    ("sample", "text"),
    [
        (Problem("told by the reader"), "told by the reader"),
        (RawSample("2", None, " \n", "a"), "q.json id 2: the question is empty"),
        (RawSample(2, None, "Q?", " "), "q.json id 2: the answer is empty; a model cannot learn to say nothing"),
        (RawSample("2", None, "<image> Q?", "a"), "q.json id 2: <image> stands in the question or answer"),
        (RawSample("2", None, "Q?", "<image>"), "q.json id 2: <image> stands in the question or answer"),
        (RawSample("2", "GQA/images/2.jpg", "Q?", "a"), "q.json id 2: image"),
        (RawSample(1, None, "Q?", "a"), "q.json id 1: the id is used by an earlier sample; ids must be unique"),
    ],
)
def test_bad_ones_do_not(tmp_path, sample, text):
    samples, problems = run(tmp_path, GOOD, sample)
    assert samples == [GOOD]
    assert problems.count == 1
    assert problems.listed[0].startswith(text)


def test_ids_within_a_conversation_are_not_written_and_may_repeat(tmp_path):
    assert len(run(tmp_path, GOOD, GOOD, conversations=True)[0]) == 2
    assert len(run(tmp_path, GOOD, GOOD)[0]) == 1
    single = RawSample("2", None, "Q?", "a")
    assert len(run(tmp_path, single, single, conversations=True)[0]) == 1


def test_only_so_many_lines_are_kept_and_all_are_counted(monkeypatch):
    monkeypatch.setattr(screening, "KEPT", 3)
    problems = Problems()
    problems.raise_any()
    for number in range(5):
        problems.add(f"line {number}")
    assert (problems.count, problems.listed) == (5, ["line 0", "line 1", "line 2"])
    with pytest.raises(DataError, match="and 2 more that were only counted") as caught:
        problems.raise_any()
    assert caught.value.problems[:3] == ["line 0", "line 1", "line 2"]
