"""Targets of adapters through the real command, and the narrowing itself on tuners of every kind."""

import json
from pathlib import Path

import pytest
from peft import IA3Config, LoHaConfig, LoraConfig, PromptTuningConfig
from safetensors.torch import load_file

from coin_lightning.adapters.build import LANGUAGE_MODEL_LINEARS, lora, moelora
from coin_lightning.adapters.targets import put_adapter
from coin_lightning.backbones import tiny
from coin_lightning.errors import ConfigError

SMALL = {"rank": 4, "alpha": 8, "dropout": 0.0}


def adapter_of(run: Path) -> tuple[set[str], dict]:
    """Names of the saved tensors, and `train.json`, of the run's first task."""
    (folder,) = run.glob("task_01_*")
    return set(load_file(folder / "adapter" / "adapter_model.safetensors")), json.loads(
        (folder / "train.json").read_text()
    )


PROJECTOR = 16 * 32 + 32 + 32 * 32 + 32
Q_AND_V = 2 * 8 * ((32 + 32) + (32 + 16))  # layers x rank x (in + out), v is half as wide
REST = 2 * 8 * ((32 + 16) + (32 + 32) + 3 * (32 + 64))  # k, o; gate, up, down


@pytest.mark.parametrize(
    ("targets", "method", "learned"),
    [
        ("[q_proj,v_proj]", "lora", PROJECTOR + Q_AND_V),
        ("all-linear", "lora", PROJECTOR + Q_AND_V + REST),
        ("'.*(q|v)_proj'", "lora", PROJECTOR + Q_AND_V),
        ("[q_proj,v_proj]", "moelora", PROJECTOR + Q_AND_V + 2 * 2 * 2 * 32),
    ],
)
def test_only_the_language_model_is_adapted(place, targets, method, learned):
    name = f"targets {method} {len(targets)}"
    experts = ["adapter.num_experts=2"] if method == "moelora" else []
    command = place.brief(name, f"method={method}", f"+adapter.targets={targets}", *experts)
    status, text = place.runs.run(command)
    assert status == 0, text
    names, trained = adapter_of(place.folder / name)
    assert {part for part in ("vision_tower", "lm_head") if any(part in each for each in names)} == set()
    assert sum("lora_A" in each for each in names) == (14 if targets == "all-linear" else 4)
    assert trained["trainable_parameters"] == learned


NONE = "adapter.targets: no module of the language model (model.language_model.*) is named"


@pytest.mark.parametrize(
    ("method", "targets", "words"),
    [
        ("lora", "[q_proj,k_prj]", f"{NONE} 'k_prj'. did you mean k_proj"),
        ("moelora", "[q_proj,k_prj]", f"{NONE} 'k_prj'. did you mean k_proj"),
        ("lora", "[q_proj,fc1]", f"{NONE} 'fc1'. "),
        ("moelora", "[lm_head]", f"{NONE} 'lm_head'. "),
        ("lora", "'.*\\.w1'", "matches this pattern. "),
        ("moelora", "q_proj", "A name by itself is a list: adapter.targets=[q_proj]. "),
        ("lora", "'*.q_proj'", "is no regular expression (nothing to repeat"),
        ("lora", "[]", f"{NONE} ''. Linear layers here are: down_proj, gate_proj"),
    ],
)
def test_a_target_that_matches_nothing_there_is_one_clear_line(place, method, targets, words):
    command = place.command(f"wrong {method}", f"method={method}", f"+adapter.targets={targets}", tasks="gqa")
    status, text = place.runs.run(command)
    assert status == 1
    (line,) = [line for line in text.splitlines() if line.startswith("error: ")]
    assert line.startswith("error: adapter.targets")
    assert words in line
    assert "Traceback" not in text


@pytest.mark.parametrize("method", ["lora", "moelora"])
def test_what_cannot_be_adapted_is_refused_by_name(place, method):
    command = place.command(f"unfit {method}", f"method={method}", "+adapter.targets=[self_attn]", tasks="gqa")
    status, text = place.runs.run(command)
    assert (status, "Traceback" in text) == (1, False)
    assert "LlamaAttention" in text
    assert "linear layers" in text


def wrapped(config) -> set[str]:
    """Names of what is trainable."""
    model = tiny.load().model
    peft = put_adapter(model, model.model.language_model, config)
    return {name for name, parameter in peft.named_parameters() if parameter.requires_grad}


@pytest.mark.parametrize(
    "config",
    [
        lambda targets: LoraConfig(target_modules=targets),
        lambda targets: LoHaConfig(target_modules=targets),
        lambda targets: IA3Config(target_modules=targets, feedforward_modules=[]),
        lambda targets: moelora(**SMALL, num_experts=2, targets=targets),
    ],
    ids=["lora", "loha", "ia3", "moelora"],
)
@pytest.mark.parametrize("targets", [["q_proj", "v_proj"], r".*\.(q|v)_proj", "all-linear", "ALL-linear"])
def test_tuners_of_every_kind_stay_in_the_language_model(config, targets):
    found = wrapped(config(targets))
    assert all(".model.language_model.layers." in name for name in found)
    layers = {name.rsplit("_proj", 1)[0] for name in found}
    assert len(layers) == (14 if str(targets).lower() == "all-linear" else 4)


def test_what_was_excluded_stays_excluded():
    for excluded in (["layers.0.self_attn.q_proj"], r".*layers\.0\.self_attn\.q_proj"):
        found = wrapped(LoraConfig(target_modules=["q_proj"], exclude_modules=excluded))
        assert {name.split(".layers.")[1][0] for name in found} == {"1"}


def test_the_default_targets_are_saved_as_they_were():
    config = lora(**SMALL)
    assert len(wrapped(config)) == 2 * 14
    assert (config.target_modules, config.exclude_modules) == (LANGUAGE_MODEL_LINEARS, None)


def test_parameters_beside_the_language_model_are_refused():
    with pytest.raises(ConfigError, match=r"PROMPT_TUNING adapter would train prompt_encoder.*outside the language"):
        wrapped(PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=2))
