"""Every remedy that a message about a damaged run folder names is carried out here, and leads to the same results."""

import json
import shutil
import signal
from pathlib import Path

import pytest
from filelock import FileLock

from coin_lightning.cli.evaluate import main as evaluate
from coin_lightning.cli.judge import main as judge
from coin_lightning.cli.report import main as report
from coin_lightning.cli.score import main as score
from results import results

TASKS = "imagenet,gqa,vqav2"
CUT = '{"scores": [[1'


@pytest.fixture(scope="module")
def sound(place) -> Path:
    """A finished and judged run of three tasks."""
    status, text = place.runs.run(command(place, place.folder / "sound"))
    assert status == 0, text
    return place.folder / "sound"


def command(place, run: Path) -> list[str]:
    judged = ["judge._target_=probes.FixedJudge", "data.limit_test=2", "data.limit_train=8", "batches.epochs=1"]
    return [*place.command("unused", *judged, tasks=TASKS), f"run_dir={run}"]


@pytest.fixture
def run(sound: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sound, tmp_path / "run"))


def again(place, run: Path, **env: str) -> tuple[int, str]:
    return place.runs.run(command(place, run), **env)


def refused(place, run: Path, *texts: str, **env: str) -> str:
    status, text = again(place, run, **env)
    assert status == 1, text
    assert "Traceback" not in text
    assert all(each in text for each in texts), text
    return text


def repaired(place, run: Path, sound: Path, **env: str) -> None:
    """The command of the run ends well, and with what it had."""
    status, text = again(place, run, **env)
    assert status == 0, text
    assert results(run) == results(sound)
    mine, theirs = (json.loads((each / "matrix.json").read_text()) for each in (run, sound))
    for matrix in (mine, theirs):
        matrix.pop("cost")
    assert mine == theirs


@pytest.mark.parametrize("content", [CUT, "", "[]"])
def test_a_broken_matrix_is_written_anew(place, sound, run, content):
    (run / "matrix.json").write_text(content)
    repaired(place, run, sound)


def test_commands_that_need_the_matrix_say_what_to_do_and_it_works(place, sound, run, capsys):
    (run / "matrix.json").write_text(CUT)
    for main in (report, score, judge, evaluate):
        assert main([str(run)]) == 1
        assert "matrix.json: cannot be read as JSON" in (text := capsys.readouterr().err)
        assert "remove it and give the command of the run again" in text
    (run / "matrix.json").unlink()
    repaired(place, run, sound)
    assert report([str(run)]) == 0


@pytest.mark.parametrize("stale", ["metrics.json", "matrix.csv"])
def test_a_run_killed_in_its_summary_writes_all_of_it_later(place, sound, run, stale):
    """`matrix.json` is the last file of a summary: a process that dies before it leaves an old one."""
    order = sorted((run / name).stat().st_mtime_ns for name in ("metrics.json", "matrix.csv", "matrix.json"))
    assert (sound / "matrix.json").stat().st_mtime_ns == max(
        (sound / name).stat().st_mtime_ns for name in ("metrics.json", "matrix.csv", "matrix.json")
    ), order
    old = json.loads((run / "matrix.json").read_text())
    old["scores"][-1] = [None] * 3
    (run / "matrix.json").write_text(json.dumps(old))
    (run / stale).write_text("{}")
    repaired(place, run, sound)
    assert (run / stale).read_bytes() == (sound / stale).read_bytes()


@pytest.mark.parametrize("name", ["environment.json", "subsets.json"])
def test_what_was_run_on_is_damaged(place, sound, run, name):
    (run / name).write_text(CUT)
    (run / "task_03_vqav2" / "scores.json").unlink()
    refused(place, run, f"{run / name}: cannot be read as JSON", "restore or remove it")
    (run / name).unlink()
    repaired(place, run, sound)
    assert report([str(run)]) == 0


def test_a_finished_run_without_its_environment_still_has_a_page(place, sound, run, capsys):
    (run / "environment.json").write_text(CUT)
    (run / "report.html").unlink()
    refused(place, run, "environment.json: cannot be read as JSON", "restore or remove it", PAGE="1")
    (run / "environment.json").unlink()
    repaired(place, run, sound, PAGE="1")
    assert (run / "report.html").is_file()


@pytest.mark.parametrize(("damage", "task"), [("cut", "imagenet"), ("gone", "gqa")])
def test_damaged_answers_are_given_again(place, sound, run, capsys, damage, task):
    file = run / "task_02_gqa" / "records" / f"{task}.jsonl"
    file.write_text(file.read_text()[:-20]) if damage == "cut" else file.unlink()
    assert score([str(run)]) == 1
    text = capsys.readouterr().err
    assert str(file) in text
    assert "remove scores.json of its experience and give the command of the run again" in text
    (run / "task_02_gqa" / "scores.json").unlink()
    repaired(place, run, sound)
    assert score([str(run)]) == 0


def test_damaged_scores_are_computed_again(place, sound, run):
    file = run / "task_01_imagenet" / "scores.json"
    file.write_text(CUT)
    refused(place, run, f"{file}: cannot be read as JSON", "remove it and give the command of the run again")
    file.unlink()
    repaired(place, run, sound)


def test_damaged_router_use_is_measured_again(place, sound, run, capsys):
    folder = run / "task_03_vqav2"
    (folder / "router.json").write_text(CUT)
    assert report([str(run)]) == 1
    assert "remove it and its scores.json, and give the command of the run again" in capsys.readouterr().err
    (folder / "router.json").unlink()
    (folder / "scores.json").unlink()
    repaired(place, run, sound)
    assert (folder / "router.json").read_bytes() == (sound / "task_03_vqav2" / "router.json").read_bytes()


def test_a_damaged_judgement_is_made_again_from_the_replies(place, sound, run):
    file = run / "task_02_gqa" / "judged" / "fixed_seven.json"
    kept = json.loads(file.read_text())
    file.write_text(CUT)
    refused(place, run, f"{file}: cannot be read as JSON", "remove it and judge again")
    file.unlink()
    repaired(place, run, sound)
    made = json.loads(file.read_text())
    assert {**made, "seconds": 0} == {**kept, "seconds": 0}


@pytest.mark.parametrize("damage", ["folder", "train.json", "adapter"])
def test_a_task_in_the_middle_is_lost(place, sound, run, damage):
    folder, later = run / "task_02_gqa", run / "task_03_vqav2"
    if damage == "folder":
        shutil.rmtree(folder)
    elif damage == "train.json":
        (folder / "train.json").write_text(CUT)
        (later / "scores.json").unlink()
    else:
        (folder / "adapter" / "adapter_model.safetensors").write_bytes(b"")
        (later / "scores.json").unlink()
        shutil.rmtree(later)
    text = refused(place, run, str(folder), "remove")
    for each in (folder, later):
        shutil.rmtree(each, ignore_errors=True)
    assert str(later) in text or "later tasks" in text
    repaired(place, run, sound)


def altered(file: Path) -> None:
    """One bit of a file of numbers; of JSON the last digit, so that it still is JSON (or, without one, a blank)."""
    content = bytearray(file.read_bytes())
    if file.suffix == ".safetensors":
        content[-1] ^= 1
    else:
        at = max((at for at, byte in enumerate(content) if chr(byte).isdigit()), default=None)
        content[slice(0, 0) if at is None else slice(at, at + 1)] = (
            b" " if at is None else b"%d" % (9 - (content[at] - 48))
        )
    file.write_bytes(content)


LEARNED = (
    "adapter/adapter_model.safetensors",
    "adapter/adapter_config.json",
    "method_state.safetensors",
    "memory.json",
)


def test_an_altered_file_is_found_before_it_is_used(place, sound, run):
    """Each once went by unseen: the next task was learned from other weights, or the matrix got another number."""
    shutil.rmtree(run / "task_03_vqav2")
    for name in (*LEARNED, "train.json", "scores.json", "judged/fixed_seven.json"):
        file = run / "task_02_gqa" / name
        altered(file)
        before = {each: each.read_bytes() for each in run.glob("task_*/*") if each.is_file()}
        remedy = "restore it, or" if "judged" not in name else "judge again"
        refused(place, run, f"error: {file}: is not what was written", remedy)
        assert {each: each.read_bytes() for each in before} == before
        shutil.copy(sound / "task_02_gqa" / name, file)
    repaired(place, run, sound)


def test_a_missing_file_is_found_before_it_is_used(place, sound, run):
    """A lost state of the method was once read as an empty one."""
    shutil.rmtree(run / "task_03_vqav2")
    for name in (*LEARNED, "manifest.json"):
        file = run / "task_02_gqa" / name
        file.unlink()
        refused(place, run, f"{file}: is missing", "restore it, or")
        shutil.copy(sound / "task_02_gqa" / name, file)
    file.unlink()
    shutil.rmtree(run / "task_02_gqa")
    repaired(place, run, sound)


def test_altered_answers_are_not_taken_for_a_changed_rule(place, sound, run, capsys):
    file = run / "task_02_gqa" / "records" / "gqa.jsonl"
    altered(file)
    for main, words in ((score, [str(run)]), (judge, [str(run), "judge._target_=probes.FixedJudge"])):
        assert main(words) == 1
        assert f"{file}: is not what was written" in capsys.readouterr().err
    assert (run / "matrix.csv").read_bytes() == (sound / "matrix.csv").read_bytes()
    (run / "task_02_gqa" / "scores.json").unlink()
    repaired(place, run, sound)
    assert score([str(run)]) == 0


@pytest.mark.parametrize("name", ["matrix.json", "metrics.json", "matrix.csv"])
def test_an_altered_summary_is_written_anew(place, sound, run, capsys, name):
    altered(run / name)
    if name == "matrix.json":
        assert report([str(run)]) == 1
        assert f"{run / name}: is not what was written" in capsys.readouterr().err
    repaired(place, run, sound)
    assert report([str(run)]) == 0


def test_what_kills_leave_behind_is_removed_at_the_next_start(place, sound, run):
    """Between a file and its name, between the weights and the end of their checkpoint, behind the scores."""
    folder = run / "task_03_vqav2"
    (folder / "scores.json").unlink()
    left = [
        folder / ".scores.json.77.tmp", folder / ".last.ckpt.tmp", folder / "adapter" / ".tmpAb3xYz",
        folder / "last.ckpt",
        run / "task_01_imagenet" / "records" / ".partial" / "imagenet.0.jsonl", run / ".matrix.json.8.tmp",
        folder / "records" / ".vqav2.jsonl.9.tmp", folder / "adapter" / ".adapter_model.safetensors.rights",
    ]  # fmt: skip
    for file in left:
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(b"{")
    repaired(place, run, sound)
    assert not [file for file in left if file.exists()]
    page = run / ".report.html.5.tmp"  # a kill at the very last file leaves a finished run
    page.touch()
    repaired(place, run, sound)
    assert not page.exists()


def test_a_config_that_is_lost_is_not_replaced(place, sound, run):
    (run / "config.yaml").unlink()
    before = {file: file.read_bytes() for file in run.rglob("*") if file.is_file()}
    for seed in (0, 7):
        status, text = place.runs.run([*command(place, run), f"seed={seed}"])
        assert status == 1
        assert "config.yaml: cannot be read, so nobody knows what was run here" in text
    assert {file: file.read_bytes() for file in run.rglob("*") if file.is_file()} == before
    shutil.copy(sound / "config.yaml", run)
    repaired(place, run, sound)


def test_a_second_process_that_is_refused_changes_nothing(place, sound, tmp_path: Path):
    """The first has taken the folder a moment ago, and nothing is computed yet."""
    run = tmp_path / "run"
    run.mkdir()
    shutil.copy(sound / "config.yaml", run)
    with FileLock(run / ".lock"):
        status, text = place.runs.run([*command(place, run), "seed=7"])
    assert status == 1
    assert "another process is working in this run folder" in text
    assert (run / "config.yaml").read_bytes() == (sound / "config.yaml").read_bytes()


def test_a_start_that_was_killed_before_its_first_answer_binds_nobody(place, tmp_path: Path):
    run = tmp_path / "run"
    status, text = place.runs.run([*command(place, run), *place.kill(0, "predict", 1)])
    assert status == -signal.SIGKILL, text
    status, text = place.runs.run([*command(place, run), "seed=7", *place.kill(0, "predict", 3)])
    assert status == -signal.SIGKILL, text
    assert "seed: 7" in (run / "config.yaml").read_text()
    status, text = place.runs.run(command(place, run))  # now there are answers
    assert status == 1
    assert "seed: 7 -> 0" in text
