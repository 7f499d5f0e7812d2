"""A run folder from a stranger runs no code through its config."""

import re
import shutil
import time
from copy import deepcopy
from functools import reduce
from multiprocessing import get_context
from operator import getitem
from pathlib import Path

import pytest
import yaml

from coin_lightning import trust
from coin_lightning.cli.evaluate import main as evaluate
from coin_lightning.cli.judge import main as judge
from coin_lightning.cli.report import main as report
from coin_lightning.cli.score import main as score
from coin_lightning.errors import RunError
from coin_lightning.run_files import write_config

FILE = Path("run/config.yaml")


@pytest.mark.parametrize(
    "name",
    [
        "coin_lightning.evaluation.judges.base.no_judge", "torch.optim.SGD", "coin_lightning.evaluation.cider.CIDErD",
        "lightning.pytorch.callbacks.Timer",
        "coin_lightning.tasks.base.InstructionTask",
    ],
)  # fmt: skip
def test_what_the_package_and_its_libraries_have_may_be_named(name: str):
    trust.check_targets({"a": [{"b": {"_target_": name}}]}, FILE)


@pytest.mark.parametrize(
    "name",
    [
        "os.system", "builtins.eval", "subprocess.run", "torch.load", "torch.hub.load", "torch.optim.x.os.system",
        "coin_lightning.whole_files.write_text", "coin_lightning_evil.Judge", "hydra.utils.get_method",
        "transformers.pipeline",
        # through what the package's own modules import
        "coin_lightning.evaluation.router_load.L.Trainer", "coin_lightning.evaluation.router_load.Path",
        "coin_lightning.evaluation.judges.openai.ThreadPoolExecutor",
        "coin_lightning.evaluation.judges.embedding.torch.ctypes.CDLL", "coin_lightning.methods.nowhere.Method",
        "torch.optim.Missing", "torch.optim.adamw.Tensor",
    ],
)  # fmt: skip
def test_all_else_is_refused_wherever_it_stands(name: str):
    for config in (
        {"_target_": name},
        {"a": {"b": [{"_target_": name}]}},
        {"a": {"_target_": name, "_partial_": True}},
    ):
        with pytest.raises(RunError, match=f"run/config.yaml: asks for code that is not of this package: {name}"):
            trust.check_targets(config, FILE)


def test_the_user_may_trust_a_module(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(trust.VARIABLE, "mine, other.part")
    trust.check_targets({"a": {"_target_": "mine.Scorer"}, "b": {"_target_": "other.part.f"}}, FILE)
    with pytest.raises(RunError, match="set COIN_LIGHTNING_TRUST=minefield"):
        trust.check_targets({"a": {"_target_": "minefield.Scorer"}}, FILE)


def test_a_config_that_was_written_here_may_name_what_its_user_composed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("COIN_LIGHTNING_CACHE", str(tmp_path / "cache"))
    config = {"method": {"_target_": "own.Method"}}
    write_config(tmp_path, config)
    file = tmp_path / "config.yaml"
    trust.check_targets(config, file)
    assert (tmp_path / "cache" / "trust.key").stat().st_mode & 0o077 == 0
    file.write_text(file.read_text() + "# altered\n")
    with pytest.raises(RunError, match=r"own\.Method"):
        trust.check_targets(config, file)
    write_config(tmp_path, config)
    monkeypatch.setenv("COIN_LIGHTNING_CACHE", str(tmp_path / "of another user"))
    with pytest.raises(RunError, match=r"own\.Method"):
        trust.check_targets(config, file)
    (tmp_path / ".config.sha256").unlink()
    with pytest.raises(RunError, match=r"own\.Method"):
        trust.check_targets(config, file)


def test_first_runs_at_once_sign_with_one_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("COIN_LIGHTNING_CACHE", str(tmp_path / "cache"))
    made = trust.secrets.token_bytes
    monkeypatch.setattr(trust.secrets, "token_bytes", lambda count: time.sleep(0.1) or made(count))
    runs = [tmp_path / str(number) for number in range(4)]
    for run in runs:
        run.mkdir()
    processes = [get_context("fork").Process(target=write_config, args=(run, {"seed": 0})) for run in runs]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [trust.is_signed(run / "config.yaml") for run in runs] == [True] * 4


@pytest.mark.parametrize(
    "place_of_it", ["judge", "scenario.tasks.scienceqa.scorers.corrected", "evaluation", "backbone"]
)
def test_no_command_on_a_strangers_folder_calls_what_it_names(
    short: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, place_of_it: str
):
    monkeypatch.delenv(trust.VARIABLE, raising=False)
    run, mark = Path(shutil.copytree(short, tmp_path / "run")), tmp_path / "called"
    config = yaml.safe_load((run / "config.yaml").read_text())
    *above, last = place_of_it.split(".")
    node = reduce(getitem, above, config)
    assert last in node
    node[last] = {"_target_": "os.mkdir", "path": str(mark)}
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    for main in (report, score, judge, evaluate):
        status = main([str(run)])
        text = capsys.readouterr()
        assert status == 1, text
        assert "asks for code that is not of this package: os.mkdir" in text.err
    assert not mark.exists()


SECRET = "what-only-this-machine-knows"
LOOKED_UP = ("${oc.env:MY_SECRET}", "a ${oc.env:MY_SECRET} b", "${oc.create:'{_target_: os.mkdir, path: MARK}'}")
"""Values of a config that OmegaConf would put something else for: a second way to have code of one's choice called."""


def test_nothing_is_looked_up_for_a_strangers_config(
    short: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("MY_SECRET", SECRET)
    run, mark = Path(shutil.copytree(short, tmp_path / "run")), tmp_path / "called"
    sound = yaml.safe_load((run / "config.yaml").read_text())
    everywhere = deepcopy(sound)
    for key in ("judge", "judge.model", "protocol.judge_variant", "experiment_name", "scenario.tasks.textvqa.title"):
        for written in (value.replace("MARK", str(mark)) for value in LOOKED_UP):
            config = deepcopy(sound)
            *above, last = key.split(".")
            for each in [config] if key == "judge" else [config, everywhere]:
                reduce(getitem, above, each)[last] = written
            (run / "config.yaml").write_text(yaml.safe_dump(config))
            for main, words in ((evaluate, []), (judge, []), (judge, ["judge=embedding"])):
                assert main([str(run), *words]) == 1
                assert re.search(rf"{run}/config.yaml: {key} (is ['\"]|has \$\{{\.\.\.\}})", capsys.readouterr().err)
    (run / "config.yaml").write_text(yaml.safe_dump(everywhere))
    assert [main([str(run)]) for main in (report, score)] == [0, 0]  # for them it is text
    assert not mark.exists()
    assert SECRET not in capsys.readouterr().out
    assert not [file for file in run.rglob("*") if file.is_file() and SECRET.encode() in file.read_bytes()]


def test_a_run_is_not_continued_with_what_is_looked_up(place, short: Path, tmp_path: Path, monkeypatch):
    monkeypatch.setenv("MY_SECRET", SECRET)
    run = Path(shutil.copytree(short, tmp_path / "run"))
    text = (run / "config.yaml").read_text()
    (run / "config.yaml").write_text(text.replace("name: tiny", "name: ${oc.env:MY_SECRET}"))
    status, said = place.runs.run([*place.short("unused"), f"run_dir={run}"])
    assert status == 1, said
    assert "backbone.name: '${oc.env:MY_SECRET}' -> 'tiny'" in said
    assert SECRET not in said
