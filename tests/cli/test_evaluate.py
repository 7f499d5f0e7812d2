"""``python -m coin_lightning evaluate``: what a run with `evaluation=seen` left out, as if it had not."""

import io
import json
import shutil
from pathlib import Path

import pytest
import torch
import yaml
from rich.console import Console

from coin_lightning.backbones import tiny
from coin_lightning.cli import evaluate as command
from coin_lightning.cli.evaluate import OLDER, main, run_config
from coin_lightning.cli.run import recognise
from coin_lightning.continual.run_dir import RunDir
from coin_lightning.continual.run_judge import RunJudge
from coin_lightning.errors import ConfigError, JudgeError, RunError
from coin_lightning.evaluation import run_scoring
from coin_lightning.evaluation.suite import AnswerWriter
from coin_lightning.manifest import write_known_json
from ranks import together
from results import without_manifests

FOLDERS = ["task_00_zero_shot", "task_01_scienceqa", "task_02_textvqa", "task_03_imagenet"]
TASKS = ["scienceqa", "textvqa", "imagenet"]


def read(file: Path):
    return json.loads(file.read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def seen_run(place) -> Path:
    """The run of `undisturbed`, but with `evaluation=seen`."""
    status, text = place.runs.run(place.command("seen_only", "evaluation=seen", "share_answers=false"))
    assert status == 0, text
    return place.folder / "seen_only"


@pytest.fixture
def run(seen_run: Path, tmp_path: Path) -> Path:
    """A copy that a test may fill."""
    return Path(shutil.copytree(seen_run, tmp_path / "run"))


def records(run: Path) -> dict[str, bytes]:
    return {
        f"{folder}/{file.name}": file.read_bytes()
        for folder in FOLDERS
        for file in (run / folder / "records").iterdir()
    }


@pytest.mark.parametrize("lost", [FOLDERS[2], f"{FOLDERS[2]}/scores.json"])
def test_a_run_that_has_lost_an_experience_is_refused_and_keeps_its_numbers(run: Path, capsys, lost: str):
    before = (run / "matrix.json").read_bytes()
    (run / lost).rename(run / "elsewhere")
    assert main([str(run)]) == 1
    told = capsys.readouterr().err
    assert f"{FOLDERS[2]}/scores.json: is gone, and matrix.json has its scores; put it back, or start the run" in told
    assert (run / "matrix.json").read_bytes() == before


def test_altered_answers_are_told_and_not_shown(run: Path, capsys):
    file = run / FOLDERS[3] / "records" / "imagenet.jsonl"
    first, *others = file.read_text().splitlines()
    file.write_text("\n".join([json.dumps({**json.loads(first), "prediction": "forged answer"}), *others, ""]))
    assert main([str(run), "evaluation=seen"]) == 1
    assert f"{file}: is not what was written" in capsys.readouterr().err
    page = (run / "report.html").read_text()
    assert "forged answer" not in page
    assert "records/imagenet.jsonl: is not what was written" in page
    assert "<details" in page  # of the other tasks


def assert_equal(run: Path, whole: Path) -> None:
    """The same answers, scores and router loads as a run that evaluated every cell at once."""
    assert records(run) == records(whole)
    for folder in FOLDERS:
        ours, theirs = (read(place / folder / "scores.json") for place in (run, whole))
        assert {**ours, "seconds": 0} == {**theirs, "seconds": 0}
        assert list(ours["scores"]) == list(theirs["scores"])
        assert (run / folder / "router.json").read_text() == (whole / folder / "router.json").read_text()
    ours, theirs = (read(place / "matrix.json") for place in (run, whole))
    for key in ("tasks", "rows", "scores", "counts", "metrics", "variants", "differing", "protocol", "seed"):
        assert ours[key] == theirs[key], key


def test_filled_cells_are_those_of_a_full_evaluation(
    run: Path, undisturbed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert read(run / "matrix.json")["scores"][1][1] is None
    before = read(run / FOLDERS[1] / "scores.json")["scores"]
    assert main([str(run)]) == 0
    printed = capsys.readouterr().out
    assert "after ScienceQA: TextVQA, ImageNet missing" in printed
    assert "after TextVQA: ImageNet missing" in printed
    assert "3 cells were filled" in printed
    assert_equal(run, undisturbed)
    assert read(run / FOLDERS[1] / "scores.json")["scores"]["scienceqa"] == before["scienceqa"]
    assert not list(run.rglob(".partial"))
    assert (run / "logs").exists() == (undisturbed / "logs").exists()


def test_a_run_whose_config_is_older_than_some_keys(run: Path) -> None:
    file = run / "config.yaml"
    config = yaml.safe_load(file.read_text())
    assert set(OLDER) <= set(config)
    file.write_text(yaml.safe_dump({key: value for key, value in config.items() if key not in OLDER}, sort_keys=False))
    assert main([str(run), "evaluation=full", "experience=2"]) == 0
    assert read(run / "matrix.json")["scores"][2][2] is not None


def test_one_experience_and_then_the_rest(run: Path, undisturbed: Path) -> None:
    assert main([str(run), "evaluation=full", "experience=2"]) == 0
    matrix = read(run / "matrix.json")
    assert [[cell is None for cell in sample] for sample in matrix["scores"]] == [
        [False] * 3, [False, True, True], [False] * 3, [False] * 3,
    ]  # fmt: skip
    assert matrix["protocol"]["evaluation_cells"] == "seen"
    assert main([str(run), "experience=[1,2]"]) == 0
    assert_equal(run, undisturbed)


def test_killed_half_way_it_goes_on(run: Path, undisturbed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write, batches = AnswerWriter.write_on_batch_end, []

    def die_at_the_third(self, *arguments) -> None:
        if len(batches) == 3:
            raise RunError("killed")
        batches.append(1)
        write(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(AnswerWriter, "write_on_batch_end", die_at_the_third)
        assert main([str(run)]) == 1
    assert len(list(run.rglob(".partial/*.jsonl"))) == 2
    assert read(run / "matrix.json")["scores"][1][1] is None
    assert main([str(run)]) == 0
    assert_equal(run, undisturbed)


def test_a_run_from_before_both_variants_gets_them_in_all_cells(run: Path, undisturbed: Path) -> None:
    for folder in FOLDERS:
        content = read(run / folder / "scores.json")
        for key in ("variants", "differing", "breakdown"):
            del content[key]
        (run / folder / "scores.json").write_text(json.dumps(content))
    without_manifests(run)
    assert main([str(run)]) == 0
    assert read(run / "matrix.json")["variants"] == read(undisturbed / "matrix.json")["variants"]


def test_nothing_missing_loads_nothing(
    run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "assemble", None)
    assert main([str(run), "evaluation=seen"]) == 0
    assert "no cell was missing" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["experience=7"], "experience=7: the run has 0 (zero_shot), 1 (scienceqa), 2 (textvqa), 3 (imagenet)"),
        (["experience=all"], "experience=all: give the number of an experience"),
        (["evaluation=upper"], "evaluation.cells='upper' is unknown; use seen or full"),
        (["adapter.rank=4"], "adapter.rank: cannot be set for a run that is there"),
        (["batches.num_workers=many"], 'batches.num_workers="many": must be a valid integer'),
        (["trainer.devices=0"], "trainer.devices=0: must be greater than 0"),
        (["experiense=1"], "did you mean experience"),
    ],
)
def test_wrong_words_are_refused(run: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str) -> None:
    assert main([str(run), *words]) == 1
    assert message in capsys.readouterr().err


def test_missing_weights_and_unfinished_experiences_are_refused(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree(run / FOLDERS[1] / "adapter")
    assert main([str(run), "experience=1"]) == 1
    assert "adapter" in capsys.readouterr().err
    (run / FOLDERS[3] / "scores.json").unlink()
    written = read(run / "matrix.json")
    written["scores"][3] = [None] * len(TASKS)  # as before it was scored
    write_known_json(run / "matrix.json", written)
    assert main([str(run), "experience=3"]) == 1
    assert "experience=3 is not finished; continue the run first" in capsys.readouterr().err


def test_a_run_without_its_config_is_refused(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (run / "config.yaml").write_text("seed: [")
    assert main([str(run)]) == 1
    assert "config.yaml: cannot be read" in capsys.readouterr().err


def test_cells_are_not_filled_by_newer_scorers(run: Path, capsys: pytest.CaptureFixture[str], monkeypatch) -> None:
    """What a run was scored by stands in its config with its version, but the code behind it is today's."""
    real = run_scoring.task_nodes

    def newer(folder: Path) -> dict[str, dict]:
        return {name: {**node, "version": 2 if name == "textvqa" else 1} for name, node in real(folder).items()}

    monkeypatch.setattr(run_scoring, "task_nodes", newer)
    before = (run / "matrix.json").read_bytes()
    assert main([str(run)]) == 1
    assert "textvqa was scored by version 1 of its scorers, and there is version 2; score" in capsys.readouterr().err
    assert (run / "matrix.json").read_bytes() == before


def test_free_keys_reach_the_config(seen_run: Path) -> None:
    config, positions = run_config(seen_run, ["data.root=/elsewhere", "num_threads=3", "experience=[2,1,2]"])
    assert (config.data.root, config.num_threads, positions) == ("/elsewhere", 3, [1, 2])
    assert config.evaluation.cells == "full"
    with pytest.raises(ConfigError):
        run_config(seen_run, ["experience=true"])


def test_places_reach_every_task(seen_run: Path, tmp_path: Path) -> None:
    """A stored config has no references: each task has its own copy of what was said once."""
    run = Path(shutil.copytree(seen_run, tmp_path / "run"))
    stored = yaml.safe_load((run / "config.yaml").read_text())
    stored["scenario"]["tasks"]["textvqa"]["data"]["features"] = "/of/its/own"
    (run / "config.yaml").write_text(yaml.safe_dump(stored))
    places = ["data.root=/elsewhere", "data.features=/features", "batches.num_workers=2"]
    tasks = run_config(run, places)[0].scenario.tasks
    assert {(task.data.root, task.data.source.root, task.batches.num_workers) for task in tasks.values()} == {
        ("/elsewhere", "/elsewhere", 2)
    }
    assert (tasks.scienceqa.data.features, tasks.textvqa.data.features) == ("/features", "/of/its/own")


def test_a_run_whose_data_have_moved_is_evaluated(run: Path, place, tmp_path: Path) -> None:
    moved = Path(shutil.copytree(place.suite, tmp_path / "moved"))
    text = (run / "config.yaml").read_text()
    (run / "config.yaml").write_text(text.replace(str(place.suite), "/gone"))
    assert main([str(run), "experience=1"]) == 1
    assert main([str(run), "experience=1", f"data.root={moved}"]) == 0
    assert read(run / "matrix.json")["scores"][1][2] is not None


def test_a_run_from_before_layers_could_be_chosen_is_evaluated(seen_run: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(seen_run, tmp_path / "run"))
    text = (run / "config.yaml").read_text()
    for former, word in ((True, "all"), (False, "none")):
        (run / "config.yaml").write_text(
            text.replace("gradient_checkpointing: none", f"gradient_checkpointing: {former}")
        )
        assert run_config(run, [])[0].backbone.gradient_checkpointing == word


def test_a_smaller_batch_of_answers_fills_the_cells_and_is_told(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(run), "experience=1", "answers.batch_size=0"]) == 1
    assert "answers.batch_size=0: " in capsys.readouterr().err
    assert main([str(run), "experience=1", "answers.batch_size=1"]) == 0
    said = "answers.batch_size went from 2 to 1 at a later evaluation: last digits"
    assert [note for note in read(run / "matrix.json")["notes"] if note.startswith(said)]
    assert read(run / "matrix.json")["scores"][1][2] is not None


def test_cells_are_not_filled_in_another_precision_than_the_runs(
    place, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`auto` is what the machine multiplies natively: this one's is changed between the run and the evaluation."""
    status, text = place.runs.run(place.brief("auto", "+backbone.dtype=auto", "evaluation=seen", tasks="gqa,imagenet"))
    assert status == 0, text
    run = place.folder / "auto"
    before = (run / "matrix.json").read_bytes()
    begun = read(run / "matrix.json")["protocol"]["precision"]
    now, dtype = {"32-true": ("bf16-mixed", torch.bfloat16), "bf16-mixed": ("32-true", torch.float32)}[begun]
    with monkeypatch.context() as patch:
        patch.setattr(tiny, "native_dtype", lambda name: dtype)
        assert main([str(run)]) == 1
    assert f"was begun in precision {begun}, and trainer.precision=auto is {now} on this" in capsys.readouterr().err
    assert (run / "matrix.json").read_bytes() == before
    assert main([str(run)]) == 0
    assert read(run / "matrix.json")["scores"][1][1] is not None


@pytest.fixture(scope="module")
def judged_run(place) -> Path:
    """A run of two tasks, one cell left out, whose judge has graded all others."""
    more = ["evaluation=seen", "judge._target_=probes.FixedJudge", "protocol.global_batch=4"]
    status, text = place.runs.run(place.brief("judged_seen", *more, tasks="gqa,imagenet"))
    assert status == 0, text
    return place.folder / "judged_seen"


def judged(run: Path) -> list[list[int | None]]:
    return read(run / "matrix.json")["judges"]["fixed_seven"]["counts"]


@pytest.mark.ddp
def test_cells_that_several_processes_have_filled_are_judged(judged_run: Path, place, tmp_path: Path) -> None:
    """Two batches are more than the global batch of its training."""
    run = Path(shutil.copytree(judged_run, tmp_path / "run"))
    assert judged(run) == [[1, 1], [1, None], [1, 1]]
    assert "batches.size=4" in place.command("any")
    done = together(place, ["evaluate", str(run), "trainer.accelerator=cpu", "trainer.devices=2"])
    assert [status for status, _ in done] == [0, 0], done
    assert judged(run) == read(run / "matrix.json")["counts"] == [[1, 1]] * 3
    assert read(run / "matrix.json")["protocol"]["global_batch"] == "4"


def test_what_a_kill_behind_the_scores_left_unjudged_is_judged_later(
    judged_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Path(shutil.copytree(judged_run, tmp_path / "run"))

    def die(self, position: int) -> bool:
        raise RunError("killed")

    with monkeypatch.context() as patch:
        patch.setattr(RunJudge, "experience", die)
        assert main([str(run)]) == 1
    assert judged(run) == [[1, 1], [1, None], [1, 1]]
    assert main([str(run)]) == 0
    assert "no cell was missing" in capsys.readouterr().out
    assert judged(run) == read(run / "matrix.json")["counts"] == [[1, 1]] * 3


def test_a_judge_that_is_not_to_be_found_is_told_and_keeps_no_cell_empty(tmp_path: Path):
    """As of a hub name on a node that cannot reach the hub."""

    class Absent:
        name = "absent"

        def identity(self) -> dict:
            raise JudgeError("judge.model='org/model': cannot be found")

    out = io.StringIO()
    recognise(RunDir(tmp_path, ["gqa"]), Absent(), Console(file=out, width=200))
    assert out.getvalue() == "judge: judge.model='org/model': cannot be found\n"
