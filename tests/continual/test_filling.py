"""Which cells are missing, and the order in which they are filled; whole runs are filled in `tests/cli`."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from coin_lightning.continual.filling import Gap, fill, gaps
from coin_lightning.continual.run_dir import RunDir
from coin_lightning.errors import ConfigError, RunError
from coin_lightning.evaluation.records import AnswerRecord, write_records
from coin_lightning.evaluation.suite import Suite
from coin_lightning.run_files import read_json
from coin_lightning.whole_files import write_json

TASKS = ["gqa", "vqav2", "ocrvqa"]


def finish(run: RunDir, position: int, *tasks: str, **more: object) -> None:
    counts = dict.fromkeys(tasks, 1)
    write_json(run.folder(position) / "scores.json", {"scores": dict.fromkeys(tasks, 0.0), "counts": counts, **more})


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    run = RunDir(tmp_path / "run", TASKS)
    finish(run, 0, *TASKS, variants={})
    finish(run, 1, "gqa", variants={})
    finish(run, 2, "gqa", "vqav2", variants={})
    return run


def test_gaps_are_what_the_suite_wants_and_the_run_lacks(run: RunDir):
    assert gaps(run, Suite("seen")) == []
    assert gaps(run, Suite("full")) == [Gap(1, ("vqav2", "ocrvqa")), Gap(2, ("ocrvqa",))]
    assert gaps(run, Suite("full"), [2]) == [Gap(2, ("ocrvqa",))]
    finish(run, 2, "ocrvqa")
    assert gaps(run, Suite("seen")) == [Gap(2, ("gqa", "vqav2"))]


def test_experiences_that_are_not_there_or_not_finished_are_refused(run: RunDir):
    with pytest.raises(
        ConfigError, match=r"experience=4: the run has 0 \(zero_shot\), 1 \(gqa\), 2 \(vqav2\), 3 \(ocrvqa\)"
    ):
        gaps(run, Suite("full"), [4])
    with pytest.raises(RunError, match="experience=3 is not finished"):
        gaps(run, Suite("full"), [3])


def test_a_joint_run_has_two_experiences(tmp_path: Path):
    run = RunDir(tmp_path, TASKS, "joint")
    finish(run, 3, "gqa")
    assert gaps(run, Suite("full")) == [Gap(3, ("vqav2", "ocrvqa"))]
    with pytest.raises(ConfigError, match=r"the run has 0 \(zero_shot\), 3 \(joint\)"):
        gaps(run, Suite("full"), [1])


class FakeLoop:
    """Writes down what it is asked to do."""

    def __init__(self, run: RunDir) -> None:
        self.run, self.seed, self.calls = run, 0, []
        self.scenario = SimpleNamespace(tasks=[SimpleNamespace(name=name) for name in TASKS])

    def revisit(self, module, index):
        self.calls.append(("revisit", index))
        return index

    def evaluate(self, trainer, module, experience, tasks):
        self.calls.append((trainer, experience, [task.name for task in tasks]))


def test_each_experience_is_visited_once_with_its_tasks(run: RunDir):
    loop = FakeLoop(run)
    fill(loop, None, lambda experience: f"trainer {experience}", gaps(run, Suite("full")))
    assert loop.calls == [
        ("revisit", 1), ("trainer 1", 1, ["vqav2", "ocrvqa"]), ("revisit", 2), ("trainer 2", 2, ["ocrvqa"]),
    ]  # fmt: skip


def test_old_cells_get_both_variants_first(tmp_path: Path):
    run = RunDir(tmp_path, TASKS)
    finish(run, 1, "gqa")
    write_records(run.folder(1) / "records" / "gqa.jsonl", [AnswerRecord("gqa", "1", "", "Yes", {"answer": "yes"})])
    fill(FakeLoop(run), None, str, [])
    assert read_json(run.folder(1) / "scores.json")["variants"]["reference"]["scores"] == {"gqa": 100.0}
