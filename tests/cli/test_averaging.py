"""What is not averaged, and what the message says of it."""

import json
import sys
from pathlib import Path

import pytest
import yaml

sys.path.insert(0, str(Path(__file__).parents[1] / "reporting"))

from fake_run import build_run

from coin_lightning.cli.averaging import check_averages, untold_differences
from coin_lightning.cli.report import main
from coin_lightning.errors import ConfigError, RunError
from coin_lightning.reporting.overview import alike, group_by_method
from coin_lightning.reporting.run_matrix import RunMatrix, load_matrix

CONFIG = {"seed": 1, "optimizer": {"weight_decay": 0.0}, "trainer": {"precision": "32"}, "scenario": {"order": "coin"}}


@pytest.fixture
def runs(tmp_path: Path) -> list[Path]:
    """Two seeds, with their configs."""
    made = []
    for seed in (1, 2):
        run = build_run(tmp_path / f"r{seed}", tasks=("gqa",), seed=seed, answers=4, images=False, router=False)
        (run / "config.yaml").write_text(yaml.safe_dump({**CONFIG, "seed": seed}))
        made.append(run)
    return made


def check(runs: list[Path], *allowed: str) -> None:
    read: list[RunMatrix] = [load_matrix(run) for run in runs]
    check_averages(group_by_method(read, allowed), allowed)


def test_seeds_and_orders_are_averaged(runs):
    (runs[1] / "config.yaml").write_text(yaml.safe_dump({**CONFIG, "seed": 2, "scenario": {"order": "alphabetical"}}))
    check(runs)


def test_another_value_in_the_config_is_refused_with_both(runs):
    (runs[1] / "config.yaml").write_text(yaml.safe_dump({**CONFIG, "seed": 2, "optimizer": {"weight_decay": 0.1}}))
    with pytest.raises(RunError) as caught:
        check(runs)
    text = str(caught.value)
    assert f"MoELoRA: optimizer.weight_decay is 0.0 in {runs[0]} (seed 1) and 0.1 in {runs[1]} (seed 2)" in text
    assert "--allow optimizer.weight_decay" in text
    for name in ("optimizer.weight_decay", "weight_decay", "optimizer"):
        check(runs, name)


def test_other_data_or_another_number_of_samples_is_refused(runs):
    file = runs[1] / "environment.json"
    content = json.loads(file.read_text())
    content["data"]["gqa"]["sha256"] = {"train.json": "cd" * 32}
    file.write_text(json.dumps(content))
    with pytest.raises(RunError, match=r"data\.gqa is \{'train.json': 'abab.* and \{'train.json': 'cdcd"):
        check(runs)
    check(runs, "data")
    first = runs[0] / "environment.json"
    for place, digest in ((first, "aa"), (file, "bb")):
        content = json.loads(place.read_text())
        content["data"]["gqa"] |= {"sha256": {"train.json": "ab" * 32}, "images": {"test": digest * 32}}
        place.write_text(json.dumps(content))
    with pytest.raises(RunError, match=r"data\.gqa is .*'images of test': 'aaaa.* and .*'images of test': 'bbbb"):
        check(runs)
    check(runs, "data")
    matrix = json.loads((runs[1] / "matrix.json").read_text())
    matrix["counts"] = [[8], [8]]
    (runs[1] / "matrix.json").write_text(json.dumps(matrix))
    with pytest.raises(RunError, match=r"test_samples\.gqa is 4 in .* and 8 in"):
        check(runs, "data")
    check(runs, "data", "test_samples")


def test_a_protocol_field_keeps_runs_apart_unless_allowed(runs):
    matrix = json.loads((runs[1] / "matrix.json").read_text())
    matrix["protocol"]["epochs"] = 2
    (runs[1] / "matrix.json").write_text(json.dumps(matrix))
    assert len(group_by_method([load_matrix(run) for run in runs])) == 2
    check(runs)  # nothing is averaged
    check(runs, "epochs")


def test_a_matrix_by_itself_is_judged_by_what_it_says(runs, tmp_path):
    for at, run in enumerate(runs):
        (tmp_path / f"lora_seed_{at}.json").write_text((run / "matrix.json").read_text())
    check(sorted(tmp_path.glob("*.json")))
    matrix = json.loads((runs[1] / "matrix.json").read_text()) | {"counts": [[8], [8]]}
    (tmp_path / "lora_seed_1.json").write_text(json.dumps(matrix))
    with pytest.raises(RunError, match=r"test_samples\.gqa is 4 in moelora_llava \(seed 1\) and 8 in"):
        check(sorted(tmp_path.glob("*.json")))


def test_a_name_that_is_no_field_is_refused(runs):
    with pytest.raises(ConfigError, match="--allow epoch: no field of these runs; did you mean epochs"):
        check(runs, "epoch")


def test_one_seed_of_other_settings_is_told_by_the_settings(runs):
    """Both would once have been called equal runs."""
    (runs[1] / "config.yaml").write_text(yaml.safe_dump({**CONFIG, "seed": 1, "plugin": {"ewc": {"weight": 5}}}))
    matrix = json.loads((runs[1] / "matrix.json").read_text())
    (runs[1] / "matrix.json").write_text(json.dumps({**matrix, "seed": 1}))
    with pytest.raises(RunError, match=r"plugin\.ewc\.weight is None in .* and 5 in"):
        check_averages(alike([load_matrix(run) for run in runs]), ())
    status = main([*map(str, runs), "--output", str(runs[0].parent / "out")])
    assert status == 1


def test_groups_are_told_apart_by_how_tasks_are_answered_and_by_plugins_of_both(runs):
    for run, tokens, weight, more in ((runs[0], 12, 5, {}), (runs[1], 3, 100, {"replay": {"size": 2}})):
        answers = {"max_new_tokens": tokens, "batch_size": tokens}
        scenario = {"tasks": {"gqa": {"answers": answers}, "vqav2": {"answers": {"max_new_tokens": 3}}}}
        config = {**CONFIG, "scenario": scenario, "plugin": {"ewc": {"weight": weight}, **more}}
        (run / "config.yaml").write_text(yaml.safe_dump(config))
    matrix = json.loads((runs[1] / "matrix.json").read_text())
    (runs[1] / "matrix.json").write_text(json.dumps({**matrix, "method": "lora", "method_title": "LoRA"}))
    assert sorted(untold_differences(alike([load_matrix(run) for run in runs]))) == [
        "plugin.ewc.weight: 5 (MoELoRA); 100 (LoRA)",
        "scenario.tasks.gqa.answers.max_new_tokens: 12 (MoELoRA); 3 (LoRA)",
    ]


def test_groups_are_told_apart_by_what_no_field_of_the_protocol_says(runs, capsys):
    (runs[1] / "config.yaml").write_text(
        yaml.safe_dump({**CONFIG, "optimizer": {"weight_decay": 0.1, "lr": 3}, "backbone": {"quantization": "nf4"}})
    )
    matrix = json.loads((runs[1] / "matrix.json").read_text())
    told = {"method": "lora", "method_title": "LoRA"}
    (runs[1] / "matrix.json").write_text(json.dumps({**matrix, **told}))
    groups = alike([load_matrix(run) for run in runs])
    assert untold_differences(groups) == [
        "optimizer.weight_decay: 0.0 (MoELoRA); 0.1 (LoRA)", "backbone.quantization: None (MoELoRA); nf4 (LoRA)",
    ]  # fmt: skip
    out = runs[0].parent / "out"
    assert main([*map(str, runs), "--output", str(out)]) == 0
    note = "The groups also differ in what no field of the protocol tells: optimizer.weight_decay: 0.0 (MoELoRA)"
    assert note in " ".join(capsys.readouterr().out.split())
    assert note in " ".join((out / "comparison.html").read_text().split())
    (runs[1] / "matrix.json").write_text(json.dumps({**matrix, **told, "backbone": "other"}))
    assert untold_differences(alike([load_matrix(run) for run in runs])) == [
        "optimizer.weight_decay: 0.0 (MoELoRA); 0.1 (LoRA)"
    ]
