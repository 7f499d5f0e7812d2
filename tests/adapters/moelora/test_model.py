"""MoELoraModel through PEFT: what is trainable, saving and loading, several adapters, refusals, k-bit preparation."""

import subprocess
import sys

import pytest
import torch
from peft import PeftModel, get_peft_model, prepare_model_for_kbit_training
from safetensors.torch import load_file
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM

from coin_lightning.adapters.moelora import MoELoraConfig, MoELoraLinear, moelora_layers
from coin_lightning.errors import ConfigError

# PEFT 0.21 uses two names that transformers 5 has renamed
pytestmark = [
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"),
    pytest.mark.filterwarnings("ignore:`gradient_checkpointing_enable` is deprecated:FutureWarning"),
]
SEVEN = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
SIZES = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 40}
IDS = torch.arange(14).reshape(2, 7)


class WithProjector(nn.Module):
    """A language model behind a projector, the shape of a multimodal model."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.projector = nn.Linear(5, 16)
        self.language_model = LlamaForCausalLM(LlamaConfig(**SIZES))

    def forward(self, features):
        return self.language_model(inputs_embeds=self.projector(features)).logits


def _llama():
    torch.manual_seed(0)
    return LlamaForCausalLM(LlamaConfig(**SIZES)).eval()


def _config(**settings):
    common = {"r": 8, "alpha": 16, "num_experts": 4, "dropout": 0.0, "init_weights": False, "target_modules": SEVEN}
    return MoELoraConfig(**common | settings)


def _logits(model):
    with torch.no_grad():
        return model.eval()(input_ids=IDS).logits


def test_parameter_counts_of_vicuna_7b():
    with torch.device("meta"):
        base = LlamaForCausalLM(LlamaConfig())  # the defaults are LLaMA-7B, Vicuna's shape
        model = get_peft_model(base, MoELoraConfig(target_modules=SEVEN))
    sizes = {name: p.numel() for name, p in model.named_parameters() if p.requires_grad}
    router = sum(size for name, size in sizes.items() if "moelora_router" in name)
    assert router == 9_109_504
    assert sum(sizes.values()) - router == 319_815_680
    assert len(moelora_layers(model)) == 7 * 32


def test_only_adapter_and_modules_to_save_are_trainable():
    model = get_peft_model(WithProjector(), _config(modules_to_save=["projector"]))
    trainable = {name for name, p in model.named_parameters() if p.requires_grad}
    assert {name for name in trainable if "moelora_" not in name} == {
        "base_model.model.projector.modules_to_save.default.weight",
        "base_model.model.projector.modules_to_save.default.bias",
    }
    assert len(trainable) == 2 + 2 * 7 * 3
    model(torch.randn(2, 3, 5)).square().sum().backward()
    got = {name for name, p in model.named_parameters() if p.grad is not None}
    assert got == trainable


@pytest.mark.parametrize("targets", [SEVEN, r".*\.(q|k|v|o|gate|up|down)_proj", "all-linear"])
def test_targets_as_names_pattern_or_all_linear(targets):
    model = get_peft_model(_llama(), _config(target_modules=targets))
    assert len(moelora_layers(model)) == 14
    assert not isinstance(model.base_model.model.lm_head, MoELoraLinear)


@pytest.mark.parametrize("low_cpu_mem_usage", [False, True])
def test_saving_and_loading_is_bit_equal(tmp_path, low_cpu_mem_usage):
    model = get_peft_model(WithProjector(), _config(modules_to_save=["projector"]))
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter))
    model.save_pretrained(tmp_path)
    assert (tmp_path / "adapter_model.safetensors").exists()
    back = PeftModel.from_pretrained(WithProjector(), tmp_path, low_cpu_mem_usage=low_cpu_mem_usage)
    assert not any(p.requires_grad for p in back.parameters())
    mine, theirs = model.state_dict(), back.state_dict()
    assert mine.keys() == theirs.keys()
    assert all(torch.equal(mine[key], theirs[key]) for key in mine)
    features = torch.randn(2, 3, 5)
    assert torch.equal(back.eval()(features), model.eval()(features))
    resumed = PeftModel.from_pretrained(WithProjector(), tmp_path, is_trainable=True)
    assert sum(p.requires_grad for p in resumed.parameters()) == 2 + 2 * 7 * 3


def test_file_holds_adapter_tensors_only(tmp_path):
    get_peft_model(_llama(), _config(target_modules=["q_proj"])).save_pretrained(tmp_path)
    found = {
        key.rsplit(".", 1)[1]: tuple(t.shape) for key, t in load_file(tmp_path / "adapter_model.safetensors").items()
    }
    assert found == {"moelora_A": (8, 16), "moelora_B": (8, 16), "moelora_router": (4, 16)}


def test_a_fresh_process_loads_after_importing_the_adapters(tmp_path):
    model = get_peft_model(nn.Sequential(nn.Linear(4, 4)), _config(target_modules=["0"]))
    model.save_pretrained(tmp_path)
    code = (
        "import sys, torch, coin_lightning.adapters, peft\n"
        "model = peft.PeftModel.from_pretrained(torch.nn.Sequential(torch.nn.Linear(4, 4)), sys.argv[1])\n"
        "print(model.base_model.model[0].moelora_A['default'].double().sum().item())\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) == model.base_model.model[0].moelora_A["default"].double().sum().item()


def test_adapters_are_disabled_switched_added_and_deleted():
    base, model = _logits(_llama()), get_peft_model(_llama(), _config())
    first = _logits(model)
    assert not torch.equal(first, base)
    with model.disable_adapter():
        assert torch.equal(_logits(model), base)
    model.add_adapter("second", _config(num_experts=2, target_modules=["q_proj", "lm_head"]))
    assert torch.equal(_logits(model), first)
    model.set_adapter("second")
    second = _logits(model)
    assert not torch.equal(second, first)
    trainable = [name for name, p in model.named_parameters() if p.requires_grad]
    assert len(trainable) == 3 * 3
    assert all(name.endswith(".second") for name in trainable)
    model.set_adapter("default")
    assert torch.equal(_logits(model), first)
    model.delete_adapter("second")
    assert torch.equal(_logits(model), first)
    assert not any("second" in name for name, _ in model.named_parameters())


def test_two_active_adapters_add_up():
    model = get_peft_model(_llama(), _config(target_modules=["q_proj"]))
    model.add_adapter("second", _config(num_experts=2, target_modules=["q_proj"]))
    layer, x = next(iter(moelora_layers(model).values())), torch.randn(3, 16)
    base, deltas = layer.base_layer(x), []
    for name in ("default", "second"):
        model.set_adapter(name)
        deltas.append(layer(x) - base)
    model.base_model.set_adapter(["default", "second"])
    torch.testing.assert_close(layer(x), base + sum(deltas))


def test_merging_is_refused_before_anything_changes_and_unloading_works():
    model, base = get_peft_model(_llama(), _config()), _llama()
    before = _logits(model)
    for merge in (model.merge_and_unload, model.merge_adapter):
        with pytest.raises(ConfigError, match=r"gate depends on the input.*unload\(\)"):
            merge()
    assert torch.equal(_logits(model), before)
    bare = model.unload()
    assert isinstance(bare, LlamaForCausalLM)
    assert not any(isinstance(module, MoELoraLinear) for module in bare.modules())
    assert torch.equal(_logits(bare), _logits(base))


def test_fixed_weights_merge_for_good():
    model = get_peft_model(_llama(), _config(mixing="given", fixed_weights=[1, 0.5, 0, 2]))
    wanted = _logits(model)
    merged = model.merge_and_unload()
    assert not any(isinstance(module, MoELoraLinear) for module in merged.modules())
    torch.testing.assert_close(_logits(merged), wanted)


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        (["q_proj", "k_prj"], r"no module is named 'k_prj'. did you mean k_proj"),
        (["zzz"], "Linear layers here are: down_proj, gate_proj"),
        (r".*\.w1", "no module name matches this pattern"),
        (["embed_tokens"], "is a Embedding, MoELoRA adapts linear layers only"),
        (["self_attn"], "is a LlamaAttention"),
    ],
)
def test_unknown_or_unfit_targets_are_refused_and_the_model_stays(targets, message):
    model = _llama()
    with pytest.raises(ConfigError, match=message):
        get_peft_model(model, _config(target_modules=targets))
    assert not any(isinstance(module, MoELoraLinear) for module in model.modules())


def test_default_targets_come_from_pefts_table():
    model = get_peft_model(_llama(), _config(target_modules=None))
    assert {name.rsplit(".", 1)[1] for name in moelora_layers(model)} == {"q_proj", "v_proj"}


def test_kbit_preparation_and_checkpointed_training_step():
    base = _llama()
    base.is_loaded_in_8bit = True  # what transformers sets on a quantised model; the layers stay plain here
    base = prepare_model_for_kbit_training(base, gradient_checkpointing_kwargs={"use_reentrant": False})
    model = get_peft_model(base, _config()).train()
    model(input_ids=IDS, labels=IDS).loss.backward()
    trainable = [p for p in model.parameters() if p.requires_grad]
    assert len(trainable) == 14 * 3
    assert all(p.grad is not None for p in trainable)


@pytest.mark.parametrize("use_reentrant", [False, True])
def test_checkpointing_of_the_whole_model_changes_nothing(use_reentrant):
    grads = []
    for wrap in (False, True):
        model = get_peft_model(_llama(), _config(dropout=0.2)).train()
        if wrap:
            model.enable_input_require_grads()
            model.gradient_checkpointing_enable({"use_reentrant": use_reentrant})
        torch.manual_seed(1)
        model(input_ids=IDS, labels=IDS).loss.backward()
        grads.append([p.grad for p in model.parameters() if p.requires_grad])
    assert all(torch.equal(a, b) for a, b in zip(*grads, strict=True))
