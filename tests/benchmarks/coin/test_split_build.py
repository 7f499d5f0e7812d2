"""One split on its way to all instruction types: made from what, in which samples, and what is refused."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from coin_lightning.benchmarks.coin.options import BuildOptions, BuildProgress
from coin_lightning.benchmarks.coin.places import Images
from coin_lightning.benchmarks.coin.raw_sample import Problem, RawSample, RawTask
from coin_lightning.benchmarks.coin.record import BuildRecord
from coin_lightning.benchmarks.coin.split_build import SplitBuild
from coin_lightning.benchmarks.coin.templates import load_instructions
from coin_lightning.errors import DataError

SAMPLES = [
    RawSample("q1", None, "One?", "1", "a"), RawSample("q2", None, "Two?", "2", "b"),
    RawSample("q3", None, "Three?", "3", "a"),
]  # fmt: skip


class Noting(BuildProgress):
    def __init__(self) -> None:
        self.heard: list[tuple[object, ...]] = []

    def start(self, folder: str, split: str, total: int) -> None:
        self.heard.append((folder, split, total))

    def sample(self) -> None:
        self.heard.append(("sample",))


def builder(
    root: Path, samples: list[RawSample | Problem], progress: BuildProgress | None = None, **options
) -> SplitBuild:
    def stream(raw: Path, split: str) -> Iterator[RawSample | Problem]:
        return iter(samples)

    task = RawTask("gqa", "GQA", "test", stream, lambda raw, split: [], {})
    (root / "build").mkdir(exist_ok=True)
    return SplitBuild(
        task=task,
        raw=root,
        root=root,
        options=BuildOptions(**options),
        named={},
        images=Images(task, root, root, "link"),
        record=BuildRecord(root, root / "build"),
        instructions=load_instructions("gqa"),
        progress=progress or BuildProgress(),
    )


@pytest.fixture
def source(tmp_path) -> list[Path]:
    """The file that samples are said to come from."""
    file = tmp_path / "questions.json"
    file.write_text("12345")
    return [file]


def ids(root: Path, type_: str = "Original", split: str = "train") -> list[str]:
    samples = json.loads((root / f"Instructions_{type_}" / "GQA" / f"{split}.json").read_text())
    return [sample.get("id", sample.get("question_id")) for sample in samples]


def test_training_samples_are_conversations_and_evaluation_samples_questions(tmp_path, source):
    progress = Noting()
    built = builder(tmp_path, SAMPLES, progress).run("train", source)
    assert (built.samples, built.questions, built.skipped, built.fresh) == (2, 3, 0, True)
    assert progress.heard == [("GQA", "train", 5), ("sample",), ("sample",)]
    assert [ids(tmp_path, type_) for type_ in ("Original", "Diverse", "10Type")] == [["a", "b"]] * 3
    built = builder(tmp_path, SAMPLES).run("test", source)
    assert (built.samples, built.questions) == (3, 3)
    assert ids(tmp_path, split="test") == ["q1", "q2", "q3"]


def test_ungrouped_training_samples_are_questions(tmp_path, source):
    built = builder(tmp_path, [RawSample("q1", None, "One?", "1"), *SAMPLES[1:2]], grouped=False).run("train", source)
    assert (built.samples, built.questions) == (2, 2)


def test_only_missing_types_are_written(tmp_path, source):
    assert builder(tmp_path, SAMPLES, types=("original",)).run("train", source).fresh
    assert not (tmp_path / "Instructions_Diverse").exists()
    first = (tmp_path / "Instructions_Original" / "GQA" / "train.json").stat()
    assert builder(tmp_path, SAMPLES).run("train", source).fresh
    assert (tmp_path / "Instructions_Original" / "GQA" / "train.json").stat().st_ino == first.st_ino
    assert ids(tmp_path, "10Type") == ["a", "b"]
    assert not builder(tmp_path, [Problem("is not even asked")]).run("train", source).fresh


@pytest.mark.parametrize("options", [{"seed": 1}, {"grouped": False}, {"images": "unchecked"}, {"skip": True}])
def test_other_options_build_again(tmp_path, source, options):
    builder(tmp_path, SAMPLES).run("test", source)
    assert not builder(tmp_path, SAMPLES, images="none").run("test", source).fresh
    assert builder(tmp_path, SAMPLES, **options).run("test", source).fresh


def test_a_changed_input_builds_again(tmp_path, source):
    builder(tmp_path, SAMPLES).run("test", source)
    source[0].write_text("54321")
    assert builder(tmp_path, SAMPLES[:2]).run("test", source).samples == 2


def test_problems_are_raised_together_and_nothing_is_written(tmp_path, source):
    samples = [Problem("first"), *SAMPLES, RawSample("q4", None, "", "x"), Problem("last")]
    with pytest.raises(DataError) as caught:
        builder(tmp_path, samples).run("train", source)
    assert caught.value.problems == ["first", f"{source[0]} id q4: the question is empty", "last"]
    assert not list(tmp_path.rglob("train.json*"))
    assert not list(tmp_path.rglob("*.part"))


def test_skipped_problems_are_counted_and_listed(tmp_path, source):
    built = builder(tmp_path, [Problem("first"), *SAMPLES], skip=True).run("train", source)
    assert (built.samples, built.skipped) == (2, 1)
    assert '"first"' in (tmp_path / "build" / "skipped.json").read_text()
    assert builder(tmp_path, SAMPLES, skip=True).run("train", source).skipped == 1  # finished: not asked again


def test_no_sample_at_all_is_refused(tmp_path, source):
    with pytest.raises(DataError, match="no usable sample of split 'train' for GQA; is it the right folder"):
        builder(tmp_path, []).run("train", source)
    with pytest.raises(DataError, match="no usable sample") as caught:
        builder(tmp_path, [Problem("why")], skip=True).run("train", source)
    assert caught.value.problems[1] == "why"
