"""`experiments/sweeps/`: every member of every script composes, and a W&B agent's own command line is a run."""

import os
import subprocess
from pathlib import Path

import pytest
import yaml
from hydra import initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from wandb.sdk.launch.sweeps.utils import create_sweep_command, create_sweep_command_args

from coin_lightning.cli.sweep_plan import SweepPlan
from coin_lightning.config_folder import conf_dir
from hydra_plugins.coin_lightning import GridSweeper

SWEEPS = Path(__file__).parents[2] / "experiments" / "sweeps"
SIZES = {"experts_rank": 36, "task_orders": 24, "data_volume": 24, "seeds": 10, "instructions": 9}
REAL = ("paths.coin=/data/coin", "backbone.path=/models/llava")


def words_of(script: Path, *more: str, folder: Path) -> list[str]:
    """What the script gives to Python."""
    python = folder / "python"
    python.write_text('#!/bin/bash\nprintf "%s\\n" "$@"\n')
    python.chmod(0o755)
    env = {**os.environ, "PYTHON": str(python)}
    return subprocess.run([str(script), *more], env=env, capture_output=True, text=True, check=True).stdout.split()


def test_every_script_is_known_and_in_the_readme():
    scripts = {file.stem for file in SWEEPS.glob("*.sh") if os.access(file, os.X_OK)}
    assert scripts == set(SIZES)
    table = (SWEEPS / "README.md").read_text()
    assert [name for name, size in SIZES.items() if f"| `{name}.sh` |" not in table or f"| {size} |" not in table] == []


@pytest.mark.parametrize("name", SIZES)
def test_all_members_can_be_run_each_in_a_folder_of_its_own(name: str, tmp_path: Path, monkeypatch):
    monkeypatch.setenv("COIN_LIGHTNING_CACHE", str(tmp_path))
    before = HydraConfig.instance().cfg
    words = words_of(SWEEPS / f"{name}.sh", *(REAL if name == "instructions" else ()), folder=tmp_path)
    assert words[:3] == ["-m", "coin_lightning", "-m"]
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        parsed = OverridesParser.create().parse_overrides(words[3:])
        (batch,) = GridSweeper.split_arguments(parsed, None)
        plan = SweepPlan.of([tuple(member) for member in batch if "seed=0" in member] + [tuple(batch[-1])])
    HydraConfig.instance().cfg = before
    assert len(batch) == SIZES[name]
    assert plan.impossible == {}
    assert len(set(plan.folders.values())) == plan.count > 2


@pytest.mark.parametrize("file", sorted(SWEEPS.glob("wandb/*.yaml")), ids=lambda file: file.stem)
def test_the_command_of_an_agent_is_a_run_of_its_sweep(place, file: Path, tmp_path: Path):
    """The agent's own code makes the command from the file and the server's values, and names the run by variables."""
    sweep = yaml.safe_load(file.read_text())
    values = {key: {"value": given.get("values", [given.get("min")])[-1]} for key, given in sweep["parameters"].items()}
    made = create_sweep_command_args({"args": values})
    parts = {**made, "env": [], "interpreter": ["python"], "program": [sweep["program"]]}
    words = [word for part in create_sweep_command(sweep["command"]) for word in parts.get(part[2:-1], [part])]
    assert words[:3] == ["python", "-m", "coin_lightning"]
    assert f"adapter.rank={values['adapter.rank']['value']}" in words
    swept = tuple(sweep["parameters"])
    small = [word for word in place.brief("unused") if not word.startswith(("run_dir", *swept))]
    small += ["judge=none", f"data.root={place.suite}", f"paths.runs={tmp_path}"]
    named = {"WANDB_SWEEP_ID": "sweep123", "WANDB_RUN_ID": "fromagent", "WANDB_MODE": "offline"}
    status, text = place.runs.run([*words[3:], *small], **named)
    assert status == 0, text
    (folder,) = tmp_path.rglob("offline-run-*")
    assert folder.name.endswith("-fromagent")  # the server counts this run as the one it asked for
    assert list(tmp_path.rglob("matrix.json"))
