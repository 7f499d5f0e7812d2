"""The README is true: every command in it runs, on the tiny model and a very small suite where it would take long."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent / "backbones"))
sys.path.insert(0, str(Path(__file__).parent / "benchmarks" / "coin"))
sys.path.insert(0, str(Path(__file__).parent / "evaluation" / "judges"))
sys.path.insert(0, str(Path(__file__).parent / "reporting"))

import published_minigpt_v2
import published_qwen_vl
import tiny_chat
import wandb
from fake_server import FakeServer, completion
from fake_wandb import FakeWandb
from llava_parts import write_parts
from raw_mini import both_splits, write_raw

from coin_lightning.benchmarks import coin_mini
from coin_lightning.cli import convert, dashboard, data, evaluate, judge, report, score
from coin_results import numbered, write_answers, write_judged, write_printed

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
RULES = (ROOT / "docs" / "what_the_rules_hide.md").read_text()


def commands(page: str = README) -> list[str]:
    """Lines of the fenced bash blocks of a page, without comments."""
    blocks = re.findall(r"```bash\n(.*?)```", page, re.S)
    lines = [line.split("#")[0].strip() for block in blocks for line in block.splitlines()]
    return [line for line in lines if line]


COMMANDS = commands()
OTHERS = [line for line in COMMANDS if re.match(r"python -m coin_lightning [a-z]+ ", line)]
TRAINS = [line for line in COMMANDS if line.startswith("python -m coin_lightning") and line not in OTHERS]
REPORTS = [line for line in OTHERS if line.split()[3] == "report"]
AFTERWARDS = [line for line in OTHERS if line.split()[3] in ("judge", "score", "evaluate")]
DATA = [line for line in OTHERS if line.split()[3] == "data"]
RUNS = [line for line in OTHERS if line.split()[3] == "runs"]
DASHBOARDS = [line for line in OTHERS if line.split()[3] == "dashboard"]
CONVERTS = [line for line in OTHERS if line.split()[3] == "convert"]
MAKES = [line for line in COMMANDS if line.startswith("make ")]
TORCHRUNS = [line for line in COMMANDS if line.startswith("torchrun ")]


def test_every_command_is_covered_here() -> None:
    assert COMMANDS[:2] == ["make run", "make test"]  # the first lines
    covered = [*TRAINS, *REPORTS, *AFTERWARDS, *DATA, *RUNS, *DASHBOARDS, *CONVERTS, *MAKES, *TORCHRUNS]
    assert sorted(covered) == sorted(COMMANDS)
    assert len(TRAINS) >= 7
    assert TRAINS[0] == "python -m coin_lightning +experiment=moelora_llava"
    assert len(REPORTS) >= 2
    assert len(AFTERWARDS) >= 5
    assert len(DATA) >= 2
    assert len(CONVERTS) == 2
    assert len(TORCHRUNS) == 1


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Small ones in place of the models that the README names."""
    folder = tmp_path_factory.mktemp("models")
    write_parts(folder)
    sources = {"/models/Qwen-VL-Chat": published_qwen_vl.write(folder / "hub" / "Qwen-VL-Chat"),
               "/models/MiniGPT-v2": published_minigpt_v2.write(folder / "hub" / "MiniGPT-v2")}  # fmt: skip
    made = {"/models/qwen-vl-chat": folder / "qwen-vl-chat", "/models/minigpt-v2": folder / "minigpt-v2"}
    for line in CONVERTS:
        assert convert.main(replaced(shlex.split(line)[4:], {**sources, **made})) == 0
    return made | {
        "/models/llava-1.5-7b-hf": folder / "whole",
        "/models/vicuna-7b-v1.5": folder / "vicuna",
        "/models/clip-vit-large-patch14-336": folder / "clip",
        "/models/mm_projector.bin": folder / "mm_projector.bin",
        "/models/judge": tiny_chat.write(folder / "judge"),
    }


def small(line: str, place: Any, models: dict[str, Path], name: str) -> list[str]:
    """Arguments of a README command, with its data, model and run folder replaced by small ones."""
    words = shlex.split(line.split("coin_lightning", 1)[1])
    words = replaced(words, {**models, "/data/coin": place.suite})
    own = {word.split("=")[0].lstrip("+") for word in words}
    runs = place.folder / "readme" / name
    extra = {
        "paths.data": place.suite, "paths.features": place.cache, "paths.cache": place.folder,
        "paths.runs": runs, "scenario.builder": "null",
        "data.fraction": 1, "data.limit_train": 4, "data.limit_test": 2, "batches.size": 4, "batches.num_workers": 0,
        "adapter.rank": 32, "adapter.alpha": 64, "num_threads": 1, "trainer": "cpu",
    }  # fmt: skip
    if "scenario.order" not in own:
        extra["scenario.order"] = "[gqa]" if "-m" in words else "[gqa,vqav2]"  # a sweep has many members
    if "backbone.path" in own:  # with the published batches, four samples would be one step, whose rate is 0
        extra |= {"data.limit_train": 12, "protocol.global_batch": "null"}
        for task in ("gqa", "vqav2"):  # models so small end no answer: each would have the published 1024 tokens
            extra |= {f"scenario.tasks.{task}.batches.size": 2, f"scenario.tasks.{task}.answers.max_new_tokens": 4}
    elif "debug" not in own:
        extra["backbone"] = "tiny"
    return [*words, *(f"{key}={value}" for key, value in extra.items() if key not in own)]


def replaced(words: list[str], places: dict[str, Path]) -> list[str]:
    """The words with written paths replaced by real ones."""
    for written, real in places.items():
        words = [word.replace(written, str(real)) for word in words]
    return words


@pytest.fixture(scope="module")
def first(place: Any, models: dict[str, Path]) -> Path:
    """Run folder of the first training command, with its page, which is alike for all."""
    status, text = place.runs.run(small(TRAINS[0], place, models, "first"), PAGE="1")
    assert status == 0, text
    (matrix,) = (place.folder / "readme" / "first").rglob("matrix.json")
    return Path(matrix.parent)


def test_the_first_training_command(first: Path) -> None:
    assert (first / "report.html").stat().st_size > 20_000


@pytest.mark.parametrize("line", TRAINS[1:])
def test_training_commands(line: str, place: Any, models: dict[str, Path]) -> None:
    name = str(TRAINS.index(line))
    status, text = place.runs.run(small(line, place, models, name), WANDB_MODE="offline")
    assert status == 0, text
    matrices = list((place.folder / "readme" / name).rglob("matrix.json"))
    assert len(matrices) == (6 if "coin_lightning -m " in line else 1), text


def test_report_commands(
    place: Any,
    models: dict[str, Path],
    first: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    status, text = place.runs.run(small(f"{TRAINS[0]} method=lora", place, models, "reports"))
    assert status == 0, text
    (made,) = (place.folder / "readme" / "reports").rglob("matrix.json")
    runs = {True: str(made.parent), False: str(shutil.copytree(first, tmp_path / "first"))}
    monkeypatch.chdir(tmp_path)
    for line in REPORTS:
        words = [runs["method=lora" in word] if word.startswith("runs/") else word for word in shlex.split(line)[4:]]
        assert report.main(words) == 0
        printed = "".join(capsys.readouterr().out.split())  # a long path goes on in the next line
        assert "report.html" in printed or "comparison.html" in printed


@pytest.mark.assets
def test_commands_on_a_finished_run(
    models: dict[str, Path], first: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Path(shutil.copytree(first, tmp_path / "run"))
    tools = {"judge": judge.main, "score": score.main, "evaluate": evaluate.main}
    with FakeServer(lambda number, request: completion("7")) as server:
        places = {**models, "runs/moelora_llava/seed_0": run, "http://127.0.0.1:8000/v1": Path(server.url)}
        for line in AFTERWARDS:
            words = [word.replace("http:/127", "http://127") for word in replaced(shlex.split(line)[3:], places)]
            assert tools[words[0]](words[1:]) == 0, capsys.readouterr().err
    matrix = json.loads((run / "matrix.json").read_text())
    assert set(matrix["judges"]) == {"embedding", "hf_judge", "openai_judge"}
    assert all(cell is not None for row in matrix["scores"] for cell in row)
    assert (run / "rescored" / "reference" / "matrix.json").exists()


def test_runs_commands_and_the_notebook(place: Any, first: Path, tmp_path: Path) -> None:
    shutil.copytree(first, tmp_path / "runs" / "moelora_llava" / "seed_0")
    assert len(RUNS) == 3
    for line in RUNS:
        status, text = place.runs.run(shlex.split(line)[3:], FOLDER=str(tmp_path))
        assert status == 0, text
        assert "finished" in text
    (block,) = re.findall(r"```python\n(.*?)```", README, re.S)
    done = subprocess.run([sys.executable, "-c", block], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "moelora" in done.stdout
    assert "forgetting" in done.stdout


@pytest.mark.filterwarnings("ignore:Pydantic V1 style:DeprecationWarning")  # as in `cli/test_dashboard.py`
def test_dashboard_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("wandb_workspaces")
    (line,) = DASHBOARDS
    monkeypatch.setenv("WANDB_API_KEY", "x" * 40)
    with FakeWandb().served() as fake:
        monkeypatch.setenv("WANDB_BASE_URL", fake.url)
        wandb.teardown()
        assert dashboard.main(shlex.split(line)[4:]) == 0, capsys.readouterr().err
    wandb.teardown()
    assert {view["projectName"] for view in fake.views.values()} == {shlex.split(line)[4]}


@pytest.mark.assets
def test_data_commands(models: dict[str, Path], tmp_path: Path) -> None:
    """On a very small CoIN-mini as the ten raw data sets."""
    coin_mini.build(tmp_path / "mini", train_samples=16, test_samples=9, caption_samples=1)
    write_raw(tmp_path / "mini", tmp_path / "raw")
    places = {**models, "/data/raw": tmp_path / "raw", "/data/coin": tmp_path / "coin"}
    for line in DATA:
        words = replaced(shlex.split(line)[4:], places)
        extra = (
            [f"classes={both_splits(tmp_path / 'raw')}"]
            if words[0] == "build"
            else [f"paths.features={tmp_path / 'features'}"]
        )
        # so small a suite has its faults, which verify says by its exit status
        assert data.main([*words, *extra]) == 0 if words[0] == "build" else data.main([*words, *extra]) in (0, 1)
    assert len(list((tmp_path / "coin").glob("Instructions_*/*/train.json"))) == 3 * 8
    assert list((tmp_path / "coin").rglob("*.html"))


@pytest.mark.assets
def test_commands_of_the_page_on_rules(place: Any, tmp_path: Path) -> None:
    """`docs/what_the_rules_hide.md`, on small results in the layout of those that it takes out of a history."""
    published = tmp_path / "CoIN" / "results" / "CoIN_Chatv2" / "Qwen" / "ImageNet"
    write_printed(published / "Finetune", 75, wrong=[("a", "a hog", "Piggy bank")])
    write_printed(published / "VizWiz", 50, wrong=[("a", "piggy bank", "Piggy bank"), ("b", "desk", "Desk")])
    write_judged(published / "VizWiz", 74)
    for name in ("lora", "moelora"):
        write_answers(tmp_path / "results" / name / "ImageNet" / "Finetune", numbered("c", "c", "c", "x"))
        write_answers(tmp_path / "results" / name / "ImageNet" / "GQA", numbered("C", "c", "x", "x"))
    lines = commands(RULES)
    assert len(lines) == 7
    told = {}
    for line in lines:
        words = replaced(shlex.split(line)[3:], {"/data/coin": place.suite})
        status, told[line] = place.runs.run(words, FOLDER=str(tmp_path), COLUMNS="120")
        assert status == 0, told[line]
    assert "VizWiz 50.00 +50.00 ≤ 100.00 1 1 0 74" in " ".join(told[lines[0]].split())
    assert told[lines[-1]].count("imported, ") == 3
    matrix = json.loads((tmp_path / "runs" / "mine" / "lora" / "matrix.json").read_text())
    assert matrix["variants"]["corrected"]["scores"][4][2] == 50
    assert matrix["variants"]["reference"]["scores"][4][2] == 25
    assert set(matrix["judges"]) == {"embedding"}
    differing = (tmp_path / "runs" / "mine" / "lora" / "rescored" / "reference" / "differences.jsonl").read_text()
    assert [json.loads(line)["prediction"] for line in differing.splitlines()] == ["C"]


@pytest.mark.parametrize("line", MAKES)
def test_make_commands(line: str) -> None:
    """What make would run; the tests themselves are run by `make test`, so it is not called from here."""
    done = subprocess.run([*line.split(), "--dry-run"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    last = {
        "make run": "-m coin_lightning +experiment=moelora_llava",
        "make test": "-m pytest",
        "make bench": "experiments/benchmarks/run_all.py",
    }
    assert last[line] in done.stdout


def test_continuous_integration_calls_make_test() -> None:
    lines = (ROOT / ".ci" / "run").read_text().splitlines()
    assert [line for line in lines if "make test" in line and not line.startswith("#")]
    assert (ROOT / ".ci" / "run").stat().st_mode & 0o100


ABORTS = """
import atexit, os, pathlib

class Aborts:
    abort = os.abort

    def __del__(self):
        self.abort()

def leave(rank=os.environ.get("RANK")):
    pathlib.Path(f"left_{rank}").touch()

if "RANK" in os.environ:
    kept = Aborts()
    atexit.register(leave)
"""


@pytest.mark.ddp
def test_torchrun_command(place: Any, models: dict[str, Path]) -> None:
    """The same arguments, on two processes without a GPU.

    Gloo's threads abort one process in some hundred, if the interpreter's own end begins before they have let go of the
    last tensors. Here something aborts each that gets as far.
    """
    words = [word for word in small(TORCHRUNS[0], place, models, "torchrun") if not word.startswith("trainer=")]
    words += ["trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2"]
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "-m", "coin_lightning", *words]
    (place.folder / "sitecustomize.py").write_text(ABORTS)
    paths = os.pathsep.join([str(place.folder), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        launch, cwd=place.folder, capture_output=True, text=True, timeout=280, check=False,
        env={**os.environ, "PYTHONPATH": paths},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert {file.name for file in place.folder.glob("left_*")} == {"left_0", "left_1"}, "no exit handler has run"
    assert len(list((place.folder / "readme" / "torchrun").rglob("matrix.json"))) == 1


def test_images_and_links_exist() -> None:
    local = links(README)
    assert local
    assert [target for target in local if not (ROOT / target).exists()] == []
    assert [target for target in links(RULES) if not (ROOT / "docs" / target).exists()] == []


def links(page: str) -> list[str]:
    """Targets of a page's links that are files."""
    targets = re.findall(r"\]\(([^)#]+)\)", page)
    return [target for target in targets if not target.startswith("http")]
