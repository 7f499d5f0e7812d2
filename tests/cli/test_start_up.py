"""What must answer at once imports nothing heavy: the real command in a process that says what it holds.

Most of such a process' time are the imports that all commands share: one process has these, and forks for each command.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

HEAVY = ("torch", "transformers", "peft", "lightning", "matplotlib", "datasets", "wandb", "pandas")
CODE = f"""
import runpy, sys
try:
    runpy.run_module("coin_lightning", run_name="__main__", alter_sys=True)
finally:
    print("HOLDS", *[name for name in {HEAVY} if name in sys.modules], file=sys.stderr)
"""
FORKS = f"""
import json, os, sys
import coin_lightning.cli.train
for line in sys.stdin:
    words, folder, output = json.loads(line)
    if (child := os.fork()) == 0:
        for stream in (1, 2):
            os.dup2(os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND), stream)
        os.chdir(folder)
        os.environ["COIN_LIGHTNING_CACHE"], sys.argv[1:], status = folder, words, 0
        try:
            exec({CODE!r})
        except SystemExit as ended:
            status = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
Answer = tuple[int, str, list[str]]
"""Exit status, text of both streams, and which of `HEAVY` were imported."""
SEVERAL = ("TORCHELASTIC_", "SLURM_", "LSB_", "PMI", "OMPI_", "RANK", "WORLD_SIZE")


def alone() -> dict[str, str]:
    """The environment of a process that nobody has started together with others."""
    return {name: value for name, value in os.environ.items() if not name.startswith(SEVERAL)}


@pytest.fixture(scope="module")
def forked() -> Iterator[Callable[..., Answer]]:
    """Runs a command in a fork."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", FORKS], env=alone(), text=True, **pipes) as process:

        def call(*words: str, folder: Path) -> Answer:
            output = folder / "output.txt"
            process.stdin.write(json.dumps([words, str(folder), str(output)]) + "\n")
            process.stdin.flush()
            status = int(process.stdout.readline())
            text, _, held = output.read_text().rpartition("HOLDS")
            return status, text, held.split()

        yield call


def command(*words: str, folder: Path, **env: str) -> Answer:
    """Runs a command in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", CODE, *words], env={**alone(), "COIN_LIGHTNING_CACHE": str(folder), **env},
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    text, _, held = done.stderr.rpartition("HOLDS")
    return done.returncode, done.stdout + text, held.split()


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (["--help"], "evaluate fill the cells"),
        (["train", "--help"], "method: "),
        (["--cfg", "job"], "experiment_name: "),
        (["--hydra-help"], "--multirun"),
        (["evaluate", "--help"], "experience=3"),
        (["score", "--help"], "evaluation.scorers"),
        (["judge", "--help"], "judge=embedding"),
        (["report", "--help"], "comparison.html"),
        (["import", "--help"], "Prompt_Result.text"),
        (["dashboard", "--help"], "logger.wandb.project"),
        (["assets", "--help"], "needs a network"),
        (["data", "--help"], "verify"),
        (["data", "build", "--help"], "task=NAME"),
        (["data", "verify", "--help"], "output=FILE.html"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_help(forked, tmp_path: Path, words: list[str], shown: str):
    status, text, held = forked(*words, folder=tmp_path)
    assert status == 0, text
    assert shown in " ".join(text.split()) or shown in text
    assert held == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["adapter.rnk=3"], "error: adapter.rnk: there is no such config key; did you mean adapter.rank"),
        (["+adapter.rnak=3"], "error: adapter.rnak: coin_lightning.adapters.build.moelora has no such option; did you"),
        (["+trainer.presicion=16"], "error: trainer.presicion: lightning.Trainer has no such option; did you mean pre"),
        (["method=moelra"], "error: method=moelra: there is no method/moelra.yaml; did you mean moelora"),
        (["data.limit_train=10.5"], "error: data.limit_train=10.5: must be a valid integer"),
        (["optimizer.lr=fast"], 'error: optimizer.lr="fast": must be a valid number'),
        (["protocol.projector=lost"], "error: protocol.projector='lost' is unknown"),
        (["published=coin_radar/llava"], "error: published='coin_radar/llava' names no row"),
        (["judge=null"], "error: "),
        (["data.boxes=as_written"], "error: data.boxes='as_written', but protocol.boxes='converted', which results"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else None,
)
def test_a_wrong_key_or_value(forked, tmp_path: Path, words: list[str], message: str):
    status, text, held = forked(*words, f"run_dir={tmp_path / 'run'}", folder=tmp_path)
    assert status == 1
    assert text.startswith(message)
    assert "Traceback" not in text
    assert held == []


@pytest.fixture(scope="module")
def finished(place) -> list[str]:
    """Arguments of a run that is finished."""
    words = place.brief("start_up")
    status, text = place.runs.run(words, PAGE="1")
    assert status == 0, text
    return words


def test_a_finished_run(forked, place, finished: list[str]):
    run = place.folder / "start_up"
    before = {file: file.stat().st_mtime_ns for file in run.rglob("*") if file.is_file()}
    status, text, held = forked(*finished, folder=place.folder)
    assert status == 0, text
    assert "Final accuracy (ACC)" in text
    assert held == []
    assert {file: file.stat().st_mtime_ns for file in run.rglob("*") if file.is_file()} == before


def test_a_finished_sweep(forked, place, finished: list[str], tmp_path: Path):
    """This process imports for all that it forks; finished members need no other check than what is held here."""
    own = [word for word in finished if not word.startswith("run_dir=")]
    words = ["-m", *own, f"paths.runs={tmp_path}", "seed=1,2"]
    status, text = place.runs.run(words)
    assert status == 0, text
    status, text, held = forked(*words, folder=place.folder)
    assert status == 0, text
    assert "2 of 2 members are finished" in text
    assert held == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["callbacks.checkpoint.every_n_steps=0"], "callbacks.checkpoint.every_n_steps=0 must be at least 1"),
        (["optimizer.lr=1e-3"], "was started with another config"),
        (
            ["+callbacks.mean._target_=lightning.pytorch.callbacks.WeightAveraging"],
            "callbacks.mean: WeightAveraging changes what is learned, and no result would tell",
        ),
    ],
    ids=["a value that only its class checks", "another config", "a callback that learns"],
)
def test_a_finished_run_is_not_taken_for_one_of_a_wrong_or_another_config(place, finished, words, message):
    status, text = place.runs.run([*finished, *words])
    assert status == 1
    assert message in text


def test_a_finished_run_is_not_taken_for_one_of_other_data(place, finished, tmp_path: Path):
    """Its folder is not named after where the data lie."""
    moved = Path(shutil.copytree(place.suite, tmp_path / "moved"))
    words = [*(word for word in finished if not word.startswith("paths.data=")), f"paths.data={moved}"]
    status, text = place.runs.run(words)
    assert status == 0, text
    assert "Final accuracy (ACC)" in text
    file = next(moved.rglob("GQA/test.json"))
    file.write_text(file.read_text() + " ")
    status, text = place.runs.run(words)
    assert status == 1
    assert "the data of gqa changed since this run was started" in text
    shutil.rmtree(moved)
    assert place.runs.run(words)[0] == 1


def test_a_run_needs_no_wandb_and_no_pandas(place, tmp_path: Path):
    """With a `wandb` in front of the installed one that cannot be imported; and tables of samples that are there, for
    to make them Arrow imports pandas.
    """
    assert place.runs.run(place.brief("makes_tables"))[0] == 0
    (tmp_path / "wandb.py").write_text("raise ImportError('there is no wandb here')")
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    words = place.brief("without_wandb", "logger=csv")
    status, text, held = command(*words, folder=place.folder, PYTHONPATH=path)
    assert status == 0, text
    assert "Final accuracy (ACC)" in text
    assert not {"wandb", "pandas"} & set(held)
    assert "torch" in held
