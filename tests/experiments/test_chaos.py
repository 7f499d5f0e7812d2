"""`experiments/chaos.py` kills real runs; here a few of its kills, and that it tells a run that ends otherwise."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
SCRIPT = REPOSITORY / "experiments" / "chaos.py"


@pytest.fixture(scope="module")
def chaos():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(SCRIPT.parent))
        import chaos

        yield chaos


@pytest.mark.assets
def test_a_killed_run_ends_with_the_same_bits(tmp_path: Path):
    out = tmp_path / "chaos.json"
    words = [sys.executable, str(SCRIPT), "--kills", "1", "--seed", "3", "--out", str(out)]
    done = subprocess.run(
        words, capture_output=True, text=True, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "bit-equal: random 1 of 1" in done.stdout
    found = json.loads(out.read_text())
    assert [each["equal"] for each in found["random"]] == [True]
    assert found["seed"] == 3


def test_operations_are_counted_and_the_process_dies_before_the_one_that_is_asked_for(chaos, tmp_path: Path):
    folder, count = tmp_path / "run", tmp_path / "count"

    def work(at: int | None) -> int:
        if child := os.fork():
            return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        operations = chaos.Operations(folder, at)
        sys.addaudithook(operations)
        folder.mkdir(exist_ok=True)  # 1
        (folder / "a").write_text("1")  # 2
        (folder / "a").read_text()  # reading is none
        (tmp_path / "beside").write_text("x")  # not in the folder
        (folder / "gone").unlink(missing_ok=True)  # changes nothing
        os.replace(folder / "a", folder / "b")  # 3
        (folder / "b").unlink()  # 4
        operations.folder = None
        count.write_text(str(operations.count))
        os._exit(0)

    assert work(None) == 0
    assert count.read_text() == "4"
    folder.rmdir()
    assert work(3) == -signal.SIGKILL
    assert [file.name for file in folder.iterdir()] == ["a"]


def test_a_run_that_ends_otherwise_is_told_and_kept(chaos, tmp_path: Path):
    def run(name: str, score: int) -> Path:
        folder = tmp_path / name
        (folder / "task_00_zero_shot" / "records").mkdir(parents=True)
        (folder / "task_00_zero_shot" / "records" / "gqa.jsonl").write_text(f"{score}\n")
        (folder / "matrix.json").write_text(json.dumps({"scores": [[score]], "cost": {"seconds": score}}))
        folder.with_suffix(".log").touch()
        return folder

    class Finished:
        def finish(self, folder: Path) -> int:
            return 0

    whole = chaos.outcome(run("whole", 1))
    assert chaos._compare(Finished(), run("same", 1), whole) == {"equal": True}
    assert not (tmp_path / "same").exists()
    found = chaos._compare(Finished(), run("other", 2), whole)
    assert found == {"equal": False, "differing": ["matrix.json", "task_00_zero_shot/records/gqa.jsonl"]}
    assert (tmp_path / "other").exists()


class Small:
    """Runs of a second: three files, and a flaw: whoever finds `metrics.json` without `matrix.csv` writes another."""

    def start(self, folder: Path, at: int | None = None) -> int:
        if child := os.fork():
            return child
        from chaos import Operations

        folder.mkdir(exist_ok=True)
        folder.with_suffix(".log").touch()
        flawed = (folder / "metrics.json").exists() and not (folder / "matrix.csv").exists()
        sys.addaudithook(Operations(folder, at))
        (folder / "metrics.json").write_text("{}")
        (folder / "matrix.csv").write_text("flawed" if flawed else "sound")
        (folder / "matrix.json").write_text(json.dumps({"scores": [], "cost": {"seconds": os.getpid()}}))
        os._exit(0)

    def finish(self, folder: Path) -> int:
        return os.waitstatus_to_exitcode(os.waitpid(self.start(folder), 0)[1])


def test_every_operation_is_tried_once_several_at_a_time(chaos, tmp_path: Path):
    assert Small().finish(tmp_path / "whole") == 0
    found = chaos.at_files(Small(), tmp_path, chaos.outcome(tmp_path / "whole"), 3, 2)
    assert [each["operation"] for each in found] == [1, 2, 3]
    assert all(each["killed"] for each in found)
    assert [each.get("differing") for each in found] == [None, ["matrix.csv"], None]
