"""Zero-shot answers are given once for all runs that would give the same; anything that has a say makes others."""

import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from omegaconf import OmegaConf
from PIL import Image
from rich.console import Console

from coin_lightning.cli.assembly import Assembly, assemble, make_scenario
from coin_lightning.continual import shared_answers
from coin_lightning.continual.run_dir import RunDir
from coin_lightning.continual.shared_answers import SharedAnswers
from coin_lightning.quiet import quiet_libraries
from results import results
from run_configs import config_of
from small_coin import answer_file, edit_samples, overrides, write_suite

SAID = "zero-shot answers of an earlier run: scienceqa, gqa"


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    """One that a test may change."""
    return write_suite(tmp_path / "suite", train=8, test=3)


def parts(suite: Path, folder: Path, *more: str) -> Assembly:
    """A run before its first answer."""
    quiet_libraries()
    words = overrides(suite, folder / "features", folder / "run", "trainer=cpu", *more, tasks="scienceqa,gqa")
    config = config_of(words)
    scenario = make_scenario(config)
    run = RunDir(folder / "run", [task.name for task in scenario.tasks], scenario.training)
    resolved: Any = OmegaConf.to_container(config)
    return assemble(config, resolved, scenario, run, Console(file=io.StringIO()))


def keys(suite: Path, folder: Path, *more: str, change: Callable[[Assembly], object] = lambda made: None) -> dict:
    """Names of the entries by task."""
    made = parts(suite, folder, *more)
    change(made)
    trainer = L.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False)
    return SharedAnswers(folder / "answers").keys(made.module, trainer, made.scenario.tasks)


def test_what_has_no_say_changes_no_name(suite: Path, tmp_path: Path):
    """Rank, experts, seed and rates; the order of the tasks; where things lie."""
    known = keys(suite, tmp_path)
    assert set(known) == {"scienceqa", "gqa"}
    words = (
        "adapter.num_experts=4",
        "adapter.rank=16",
        "seed=3",
        "optimizer.lr=1e-3",
        "scenario.order=[gqa,scienceqa]",
    )
    other = tmp_path / "elsewhere"
    assert keys(suite.rename(tmp_path / "moved"), other, *words) == known


def test_everything_that_has_a_say_makes_another_name(suite: Path, tmp_path: Path, monkeypatch):
    known = keys(suite, tmp_path)

    def weight(made: Assembly) -> None:
        """The last bit of one number."""
        tensor = made.module.backbone.model.lm_head.weight.data.view(-1)[-1:]
        tensor.view(torch.int32 if tensor.dtype == torch.float32 else torch.int16).bitwise_xor_(1)

    def token(made: Assembly) -> None:
        made.module.backbone.end_id += 1

    found = {
        "weight": keys(suite, tmp_path, change=weight),
        "end": keys(suite, tmp_path, change=token),
        "length": keys(suite, tmp_path, *(f"scenario.tasks.{task}.answers.max_new_tokens=7" for task in known)),
        "batches": keys(suite, tmp_path, "answers.batch_size=3"),
        "kind of adapter": keys(suite, tmp_path, "method=lora"),
        "layers": keys(suite, tmp_path, "+adapter.targets=[q_proj]"),
    }
    threads = torch.get_num_threads()
    found["threads"] = keys(suite, tmp_path, f"num_threads={threads + 1}")
    torch.set_num_threads(threads)
    with monkeypatch.context() as patch:
        patch.setattr(shared_answers, "_source", lambda: "edited")
        found["source"] = keys(suite, tmp_path)
        patch.undo()
        patch.setattr(shared_answers, "version", lambda name: "0")
        found["libraries"] = keys(suite, tmp_path)
        patch.undo()
        patch.setattr(shared_answers, "machine", lambda: {"device": "another"})
        found["machine"] = keys(suite, tmp_path)
        patch.undo()
        patch.setitem(os.environ, "MKL_CBWR", "COMPATIBLE")
        found["kernels"] = keys(suite, tmp_path)
    assert [name for name, names in found.items() if set(names) != set(known)] == []
    everything = [known, *found.values()]
    for task in known:
        assert len({names[task] for names in everything}) == len(everything), (task, found)
    edit_samples(answer_file(suite, "gqa"), lambda samples: samples[0].update(text="gqa: what is it?"))
    edited = keys(suite, tmp_path)
    assert (edited["gqa"] == known["gqa"], edited["scienceqa"] == known["scienceqa"]) == (False, True)
    assert keys(suite, tmp_path, "data.limit_test=2")["scienceqa"] != known["scienceqa"]
    Image.new("RGB", (40, 28), "black").save(suite / "cl_dataset" / "shared" / "red.jpg")
    assert keys(suite, tmp_path)["scienceqa"] != known["scienceqa"]


def test_in_doubt_nothing_is_shared(suite: Path, tmp_path: Path):
    def learned(made: Assembly) -> None:
        next(weight for name, weight in made.module.named_parameters() if "moelora_B" in name).data.view(-1)[0] = 1e-9

    assert keys(suite, tmp_path, change=learned) == {}
    assert keys(suite, tmp_path, "method=l2p") == {}
    assert keys(suite, tmp_path, "method=hide_llava") == {}
    foreign = parts(suite, tmp_path, "+callbacks.probe._target_=probes.LateDisk")
    assert foreign.loop.shared.folder is None
    assert parts(suite, tmp_path, "share_answers=false").loop.shared.folder is None


def test_the_second_run_has_the_bits_that_it_has_alone(place, tmp_path: Path):
    def run(name: str, *more: str) -> tuple[Path, str]:
        words = place.brief(f"answers/{name}", *more, tasks="scienceqa,gqa")
        status, text = place.runs.run([*words, "evaluation=full"])
        assert status == 0, text
        return place.folder / "answers" / name, text

    own = (f"paths.answers={tmp_path / 'answers'}",)
    first, text = run("first", *own, "adapter.num_experts=2")
    assert SAID not in text
    entries = sorted((tmp_path / "answers").glob("*.json"))
    assert len(entries) == 2
    second, text = run("second", *own, "adapter.num_experts=4", "seed=1")
    assert SAID in text
    alone, text = run("alone", "share_answers=false", "adapter.num_experts=4", "seed=1")
    assert SAID not in text
    assert results(second) == results(alone)
    assert sorted((tmp_path / "answers").glob("*.json")) == entries
    for entry in entries:  # damaged ones are given anew
        content = json.loads(entry.read_text())
        content["batches"][0]["answers"][0] += "x"
        entry.write_text(json.dumps(content))
    third, text = run("third", *own, "adapter.num_experts=4", "seed=1")
    assert SAID not in text
    assert results(third) == results(alone)
    assert (first / "task_00_zero_shot" / "records" / "gqa.jsonl").read_bytes() == (
        alone / "task_00_zero_shot" / "records" / "gqa.jsonl"
    ).read_bytes()


def test_of_two_at_once_one_answers(place, tmp_path: Path):
    commands = [
        (place.brief(f"at_once/{experts}", f"adapter.num_experts={experts}", f"paths.answers={tmp_path}"), {})
        for experts in (2, 4, 8)
    ]
    done = place.runs.together(commands)
    assert [status for status, _ in done] == [0, 0, 0], done
    assert sum("zero-shot answers of an earlier run: gqa" in text for _, text in done) == 2
