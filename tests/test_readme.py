"""The README is true: every command in it runs, on the tiny model and a very small suite where it would take long."""

import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent / "backbones"))

from llava_folder import write

from coin_lightning.cli import report

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def commands() -> list[str]:
    """Lines of the fenced bash blocks, without comments."""
    blocks = re.findall(r"```bash\n(.*?)```", README, re.S)
    lines = [line.split("#")[0].strip() for block in blocks for line in block.splitlines()]
    return [line for line in lines if line]


COMMANDS = commands()
TRAINS = [line for line in COMMANDS if re.match(r"python -m coin_lightning( |$)", line)]
REPORTS = [line for line in COMMANDS if line.startswith("python -m coin_lightning.cli.report")]
MAKES = [line for line in COMMANDS if line.startswith("make ")]
TORCHRUNS = [line for line in COMMANDS if line.startswith("torchrun ")]


def test_every_command_is_covered_here() -> None:
    assert COMMANDS[:2] == ["make run", "make test"]  # the first lines
    assert sorted([*TRAINS, *REPORTS, *MAKES, *TORCHRUNS]) == sorted(COMMANDS)
    assert len(TRAINS) >= 6
    assert len(REPORTS) >= 2
    assert len(TORCHRUNS) == 1


@pytest.fixture(scope="module")
def seven_b(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("llava")
    write(folder)
    return folder


def small(line: str, place: Any, seven_b: Path, name: str) -> list[str]:
    """Arguments of a README command, with its data, model and run folder replaced by small ones."""
    words = shlex.split(line.split("coin_lightning", 1)[1])
    places = {"/models/llava-1.5-7b-hf": seven_b, "/data/coin": place.suite}
    for written, real in places.items():
        words = [word.replace(written, str(real)) for word in words]
    own = {word.split("=")[0].lstrip("+") for word in words}
    runs = place.folder / "readme" / name
    extra = {
        "paths.data": place.suite, "paths.features": place.cache, "paths.runs": runs, "scenario.builder": "null",
        "scenario.limit_train": 4, "scenario.batch_size": 4, "scenario.num_workers": 0, "adapter.rank": 32,
        "adapter.alpha": 64, "num_threads": 1, "trainer": "cpu",
    }  # fmt: skip
    if "scenario.order" not in own:
        extra["scenario.order"] = "[gqa,vqav2]"
    if "debug" not in own and "coin_llava_7b" not in line:
        extra["backbone"] = "tiny"
    return [*words, *(f"{key}={value}" for key, value in extra.items() if key not in own)]


@pytest.mark.parametrize("line", TRAINS)
def test_training_commands(line: str, place: Any, seven_b: Path) -> None:
    name = str(TRAINS.index(line))
    status, text = place.runs.run(small(line, place, seven_b, name), WANDB_MODE="offline")
    assert status == 0, text
    matrices = list((place.folder / "readme" / name).rglob("matrix.json"))
    assert len(matrices) == (6 if "coin_lightning -m " in line else 1), text
    assert (matrices[0].parent / "report.html").stat().st_size > 20_000


def test_report_commands(
    place: Any, seven_b: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for method in ("moelora", "lora"):
        line = f"python -m coin_lightning +experiment=moelora_llava method={method}"
        status, text = place.runs.run(small(line, place, seven_b, "reports"))
        assert status == 0, text
    made = [path.parent for path in (place.folder / "readme" / "reports").rglob("matrix.json")]
    runs = {("method=lora" in str(run)): str(run) for run in made}
    monkeypatch.chdir(tmp_path)
    for line in REPORTS:
        assert report.main([runs["method=lora" in path] for path in shlex.split(line)[3:]]) == 0
        assert "report.html" in (printed := capsys.readouterr().out) or "comparison.html" in printed


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


@pytest.mark.ddp
def test_torchrun_command(place: Any, seven_b: Path) -> None:
    """The same arguments, on two processes without a GPU."""
    words = [word for word in small(TORCHRUNS[0], place, seven_b, "torchrun") if not word.startswith("trainer=")]
    words += ["trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2"]
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "-m", "coin_lightning", *words]
    done = subprocess.run(launch, cwd=place.folder, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(list((place.folder / "readme" / "torchrun").rglob("matrix.json"))) == 1


def test_pictures_and_links_exist() -> None:
    targets = re.findall(r"\]\(([^)#]+)\)", README)
    local = [target for target in targets if not target.startswith("http")]
    assert local
    assert [target for target in local if not (ROOT / target).exists()] == []
