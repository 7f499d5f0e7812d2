import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForImageTextToText

sys.path.insert(0, str(Path(__file__).parents[1] / "backbones"))

import small_families

from coin_lightning.adapters.build import LANGUAGE_MODEL_LINEARS, load_adapter, lora, moelora, read_state, save_adapter
from coin_lightning.adapters.moelora import MoELoraConfig
from coin_lightning.backbones import tiny
from coin_lightning.errors import ConfigError, RunError

SMALL = {"rank": 4, "alpha": 8, "dropout": 0.0}


def wrap(config, projector: bool = True):
    if projector:
        config.modules_to_save = ["multi_modal_projector"]
    model = get_peft_model(tiny.load().model, config)
    torch.manual_seed(0)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = torch.randn_like(parameter)
    return model


def trained(model) -> dict[str, torch.Tensor]:
    return {name: parameter.detach() for name, parameter in model.named_parameters() if parameter.requires_grad}


def test_swept_names_become_the_fields_of_the_two_configs():
    ours = moelora(rank=16, alpha=32, num_experts=4, dropout=0.1)
    assert isinstance(ours, MoELoraConfig)
    assert (ours.r, ours.alpha, ours.num_experts, ours.dropout) == (16, 32, 4, 0.1)
    plain = lora(rank=16, alpha=32, dropout=0.1, targets=["q_proj"])
    assert isinstance(plain, LoraConfig)
    assert (plain.r, plain.lora_alpha, plain.lora_dropout, plain.target_modules) == (16, 32, 0.1, {"q_proj"})
    assert (ours.task_type, plain.task_type) == ("CAUSAL_LM", "CAUSAL_LM")


def test_defaults_are_those_of_the_paper():
    ours = moelora()
    assert (ours.r, ours.alpha, ours.num_experts, ours.dropout) == (128, 256, 8, 0.05)


@pytest.mark.parametrize(
    ("name", "adapted"),
    [
        ("model.language_model.layers.0.self_attn.q_proj", True),
        ("model.language_model.layers.31.mlp.down_proj", True),
        ("model.vision_tower.encoder.layers.0.self_attn.q_proj", False),
        ("model.multi_modal_projector.linear_1", False),
        ("lm_head", False),
    ],
)
def test_every_linear_of_the_language_model_is_adapted_and_nothing_else(name, adapted):
    assert bool(re.fullmatch(LANGUAGE_MODEL_LINEARS, name)) is adapted


def test_the_default_targets_find_all_fourteen_layers_of_the_tiny_model():
    names = {name for name in trained(wrap(moelora(**SMALL, num_experts=2), projector=False)) if "moelora_A" in name}
    assert len(names) == 2 * 7


@pytest.mark.parametrize(
    "make", [lambda: moelora(**SMALL, num_experts=2), lambda: lora(**SMALL)], ids=["moelora", "lora"]
)
def test_saved_weights_come_back_bit_by_bit(tmp_path, make):
    model = wrap(make())
    size = save_adapter(model, tmp_path / "adapter")
    files = {file.name: file.stat().st_size for file in (tmp_path / "adapter").iterdir()}
    assert size == files["adapter_model.safetensors"] + files["adapter_config.json"]
    stored = load_file(tmp_path / "adapter" / "adapter_model.safetensors")
    assert sum(tensor.numel() for tensor in stored.values()) == sum(t.numel() for t in trained(model).values())
    other = wrap(make())
    for tensor in trained(other).values():
        tensor.zero_()
    load_adapter(other, tmp_path / "adapter")
    assert all(torch.equal(trained(other)[name], tensor) for name, tensor in trained(model).items())


def test_another_kind_of_adapter_is_refused(tmp_path):
    save_adapter(wrap(lora(**SMALL)), tmp_path / "adapter")
    with pytest.raises(RunError, match=r"holds a .*LORA adapter, the run uses .*; check adapter and method"):
        load_adapter(wrap(moelora(**SMALL, num_experts=2)), tmp_path / "adapter")


def test_another_size_or_other_parts_are_refused(tmp_path):
    save_adapter(wrap(lora(**SMALL), projector=False), tmp_path / "adapter")
    with pytest.raises(RunError, match=r"adapter (does not fit|cannot be loaded).*multi_modal_projector"):
        load_adapter(wrap(lora(**SMALL)), tmp_path / "adapter")
    with pytest.raises(RunError, match="adapter cannot be loaded"):
        load_adapter(wrap(lora(rank=8, alpha=8), projector=False), tmp_path / "adapter")


FOREIGN = {"empty": b"", "cut": None, "another format": b"PK\x03\x04 torch", "a page": b"<html>", "no object": b"[1]"}


@pytest.mark.parametrize("name", ["adapter_model.safetensors", "adapter_config.json", "method_state.safetensors"])
@pytest.mark.parametrize("damage", [*FOREIGN, "gone"])
def test_a_damaged_file_is_named_with_what_helps(tmp_path, name, damage):
    model, task = wrap(lora(**SMALL)), tmp_path / "task_02_gqa"
    save_adapter(model, task / "adapter")
    save_file({"importance": torch.ones(3)}, task / "method_state.safetensors")
    assert read_state(task / "method_state.safetensors")["importance"].tolist() == [1, 1, 1]
    load_adapter(model, task / "adapter")
    file = next(task.rglob(name))
    content = file.read_bytes()
    file.unlink()
    if damage != "gone":
        file.write_bytes(content[: len(content) // 2] if FOREIGN[damage] is None else FOREIGN[damage])
    with pytest.raises(RunError) as refusal:
        read_state(file) if name.startswith("method") else load_adapter(model, task / "adapter")
    assert str(refusal.value).startswith(f"{file}: ")
    assert str(refusal.value).endswith(
        f"; remove the folder {task} and those of later tasks and give the same command again: it trains them again"
    )


def test_names_of_layers_are_saved_in_the_same_order_by_every_process(tmp_path):
    names = ["v_proj", "down_proj", "q_proj", "up_proj", "k_proj", "gate_proj", "o_proj"]
    model = wrap(lora(**{**SMALL, "targets": names}, exclude_modules=["vision_tower", "lm_head", "embed"]))
    assert isinstance(model.peft_config["default"].target_modules, set)
    save_adapter(model, tmp_path)
    saved = json.loads((tmp_path / "adapter_config.json").read_text())
    assert saved["target_modules"] == sorted(names)
    assert saved["exclude_modules"] == ["embed", "lm_head", "vision_tower"]
    load_adapter(model, tmp_path)


def test_weights_of_another_model_are_refused_by_file(tmp_path):
    model = wrap(lora(**SMALL))
    save_adapter(model, tmp_path / "adapter")
    file = tmp_path / "adapter" / "adapter_model.safetensors"
    save_file({**load_file(file), "base_model.model.other.lora_A.weight": torch.ones(2)}, file)
    with pytest.raises(RunError, match=r"_model\.safetensors: adapter does not fit the model; .*other.*; remove"):
        load_adapter(model, tmp_path / "adapter")
    save_file({"x": torch.ones(2)}, file)
    with pytest.raises(RunError, match=r"_model\.safetensors: adapter (cannot be loaded|does not fit).*; remove"):
        load_adapter(model, tmp_path / "adapter")


def test_the_remedy_for_a_damaged_adapter_works(place, undisturbed, tmp_path):
    """Stopped in the third task, the second one's adapter damaged: the run says what to remove, and ends the same."""
    run = Path(shutil.copytree(undisturbed, tmp_path / "run"))
    for file in ("scores.json", "train.json"):
        (run / "task_03_imagenet" / file).unlink()
    command = place.command(str(tmp_path / "run"), "evaluation=full")
    for name in ("adapter/adapter_model.safetensors", "adapter/adapter_config.json"):
        file = run / "task_02_textvqa" / name
        sound = file.read_bytes()
        file.write_bytes(b"")
        status, text = place.runs.run(command)
        assert (status, "Traceback" in text) == (1, False)
        assert f"error: {file}: " in text
        assert f"remove the folder {run / 'task_02_textvqa'} and those of later tasks" in text
        file.write_bytes(sound)
    file.write_bytes(b"")
    for folder in ("task_02_textvqa", "task_03_imagenet"):
        shutil.rmtree(run / folder)
    status, text = place.runs.run(command)
    assert status == 0, text
    weights = "task_03_imagenet/adapter/adapter_model.safetensors"
    assert (run / weights).read_bytes() == (undisturbed / weights).read_bytes()


def sums(model) -> dict[str, float]:
    return {name: tensor.double().sum().item() for name, tensor in trained(model).items()}


def test_the_lines_of_the_readme_load_it_in_another_process(tmp_path):
    """One process for both: most of its time are imports. The second is of a class that only this project has."""
    found, lines = [], ["import json, os"]
    for name, config, base in (
        ("moelora", moelora(**SMALL, num_experts=2), tiny.load().model),
        ("lora", lora(**SMALL), small_families.made("qwen_vl")),
    ):
        base.save_pretrained(tmp_path / f"base of {name}")
        config.modules_to_save = ["multi_modal_projector"]
        model = get_peft_model(AutoModelForImageTextToText.from_pretrained(tmp_path / f"base of {name}"), config)
        with torch.no_grad():
            for parameter in trained(model).values():
                parameter.normal_()
        save_adapter(model, tmp_path / name)
        card = (tmp_path / name / "README.md").read_text()
        assert card.count("```") == 2
        lines += [f"os.chdir({str(tmp_path / name)!r})", card.split("```python\n")[1].split("```")[0]]
        lines += ["sums = {n: t.double().sum().item() for n, t in model.named_parameters() if '.default' in n}"]
        lines += ["print(json.dumps(sums))"]
        found.append(sums(model))
    done = subprocess.run([sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert [json.loads(line) for line in done.stdout.splitlines()] == found


def test_the_readme_says_what_it_is_and_is_the_same_bytes_for_the_same_adapter(tmp_path):
    for folder in ("a", "b", "a"):
        save_adapter(wrap(moelora(**SMALL, num_experts=2)), tmp_path / folder)
    first, second = ((tmp_path / folder / "README.md").read_bytes() for folder in ("a", "b"))
    assert first == second
    assert b"# MOELORA adapter" in first
    assert b"the model that config.yaml of the run names under backbone" in first  # tiny has no folder


def test_the_model_writes_pefts_card_when_others_save_it(tmp_path):
    model = wrap(moelora(**SMALL, num_experts=2))
    save_adapter(model, tmp_path / "ours")
    model.save_pretrained(str(tmp_path / "theirs"))
    ours, theirs = ((tmp_path / name / "README.md").read_text() for name in ("ours", "theirs"))
    assert "Model Card" in theirs
    assert "Model Card" not in ours


@pytest.mark.parametrize("make", [lora, moelora])
def test_further_modules_that_would_not_learn_are_refused(make):
    with pytest.raises(ConfigError, match=r"adapter\.modules_to_save=\['lm_head'\]: beside the adapter the projector"):
        make(**SMALL, modules_to_save=["lm_head"])
