"""MoELoraLinear: formula, PEFT LoRA at one expert, init, precision, dropout, checkpointing, quantised bases."""

import copy
import time

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import nn
from torch.utils.checkpoint import checkpoint

from coin_lightning.adapters.moelora import MoELoraConfig, merge_slots, moelora_layers
from coin_lightning.adapters.moelora.dropout import keep_mask
from coin_lightning.adapters.routing import router_load, slot_weights
from coin_lightning.errors import ConfigError


def _layer(config, bias=True, dtype=torch.float32, size=(12, 10)):
    torch.manual_seed(0)
    base = nn.Linear(*size, bias=bias, dtype=dtype)
    return get_peft_model(nn.ModuleDict({"target": base}), config).base_model.model["target"]


def _ours(bias=True, dtype=torch.float32, **settings):
    common = {
        "r": 8,
        "alpha": 16,
        "num_experts": 4,
        "dropout": 0.0,
        "target_modules": ["target"],
        "init_weights": False,
    }
    return _layer(MoELoraConfig(**common | settings), bias=bias, dtype=dtype)


def _parameters(layer):
    return [layer.moelora_A["default"], layer.moelora_B["default"], layer.moelora_router["default"]]


@pytest.mark.parametrize("shape", [(7, 12), (2, 5, 12), (2, 0, 12)])
@pytest.mark.parametrize("bias", [True, False])
def test_forward_and_gradients_equal_the_loop_over_experts(shape, bias, loop_branch):
    layer, x = _ours(bias), torch.randn(*shape, requires_grad=True)
    a, b, router = _parameters(layer)
    assert [tuple(p.shape) for p in (a, b, router)] == [(8, 12), (8, 10), (4, 12)]
    fast = layer(x)
    slow = loop_branch(layer.base_layer(x), x, a, b, router=router, ranks=[2] * 4, scaling=2.0)
    torch.testing.assert_close(fast, slow)
    leaves = [x, a, b, router]
    grads = torch.autograd.grad(fast.square().sum(), leaves), torch.autograd.grad(slow.square().sum(), leaves)
    for ours, loop in zip(*grads, strict=True):
        torch.testing.assert_close(ours, loop, rtol=1e-4, atol=1e-4)


def test_one_expert_is_pefts_lora():
    ours = _ours(num_experts=1)
    lora = _layer(LoraConfig(r=8, lora_alpha=16, target_modules=["target"]))
    with torch.no_grad():
        lora.lora_A["default"].weight.copy_(ours.moelora_A["default"])
        lora.lora_B["default"].weight.copy_(ours.moelora_B["default"].t())
    x = torch.randn(3, 5, 12, requires_grad=True)
    torch.testing.assert_close(ours(x), lora(x))
    grads = list(torch.autograd.grad(ours(x).square().sum(), [x, *_parameters(ours)]))
    wanted = torch.autograd.grad(
        lora(x).square().sum(), [x, lora.lora_A["default"].weight, lora.lora_B["default"].weight]
    )
    grads[2] = grads[2].t()
    for mine, theirs in zip(grads[:3], wanted, strict=True):
        torch.testing.assert_close(mine, theirs)
    assert torch.count_nonzero(grads[3]) == 0  # softmax of one is 1 whatever the router says


def test_initial_values_and_first_gradients():
    layer = _ours(init_weights=True, r=256, num_experts=4)
    a, b, router = _parameters(layer)
    assert a.std().item() == pytest.approx(0.01, rel=0.1)
    assert torch.count_nonzero(b) == 0
    assert router.abs().max() <= 12**-0.5
    assert router.std().item() == pytest.approx(12**-0.5 / 3**0.5, rel=0.3)
    x = torch.randn(5, 12)
    assert torch.equal(layer(x), layer.base_layer(x))
    layer(x).square().sum().backward()
    assert torch.count_nonzero(a.grad) == torch.count_nonzero(router.grad) == 0
    assert torch.count_nonzero(b.grad) == b.numel()


def test_init_follows_the_global_seed():
    assert all(torch.equal(p, q) for p, q in zip(_parameters(_ours()), _parameters(_ours()), strict=True))


@pytest.mark.parametrize("base_dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("autocast", [False, True])
def test_router_runs_in_fp32_whatever_the_precision(base_dtype, autocast):
    layer = _ours(dtype=base_dtype)
    assert {p.dtype for p in _parameters(layer)} == {torch.float32}  # PEFT lifts adapters of a bf16 base to fp32
    x = torch.randn(2, 5, 12, dtype=base_dtype)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast), router_load(nn.ModuleDict({"t": layer})) as load:
        out = layer(x)
    assert out.dtype == (torch.bfloat16 if autocast else base_dtype)
    gates = torch.softmax(x.float() @ layer.moelora_router["default"].t(), -1).view(-1, 4)
    total, count = load.totals()["t"]
    torch.testing.assert_close((total / count).float(), gates.mean(0), rtol=1e-6, atol=1e-7)
    out.float().square().sum().backward()
    assert all(p.grad.dtype == torch.float32 for p in _parameters(layer))


def test_autocast_is_close_to_fp32_and_backward_works_inside_it():
    layer, x = _ours(), torch.randn(16, 12, requires_grad=True)
    exact = torch.autograd.grad(layer(x).square().sum(), [x, *_parameters(layer)])
    with torch.autocast("cpu", torch.bfloat16):
        mixed = torch.autograd.grad(layer(x).float().square().sum(), [x, *_parameters(layer)])
    for low, high in zip(mixed, exact, strict=True):
        assert (low - high).norm() < 0.03 * high.norm()


def test_dropout_acts_on_the_experts_input_only_and_stops_in_eval(loop_branch):
    layer, x = _ours(dropout=0.5).train(), torch.randn(64, 12)
    torch.manual_seed(7)
    out = layer(x)
    torch.manual_seed(7)
    mask = keep_mask(64, 12, 0.5, x.device)
    a, b, router = _parameters(layer)
    wanted = loop_branch(layer.base_layer(x), x, a, b, router=router, ranks=[2] * 4, scaling=2.0, mask=mask, keep=0.5)
    torch.testing.assert_close(out, wanted)
    layer.eval()
    wanted = loop_branch(layer.base_layer(x), x, a, b, router=router, ranks=[2] * 4, scaling=2.0)
    torch.testing.assert_close(layer(x), wanted)


@pytest.mark.parametrize("use_reentrant", [False, True])
def test_checkpointing_gives_the_same_gradients(use_reentrant):
    layer, x = _ours(dropout=0.3).train(), torch.randn(2, 6, 12, requires_grad=True)
    grads = []
    for wrap in (False, True):
        torch.manual_seed(3)
        out = checkpoint(layer, x, use_reentrant=use_reentrant) if wrap else layer(x)
        layer.zero_grad()
        x.grad = None
        out.square().sum().backward()
        grads.append([x.grad, *(p.grad for p in _parameters(layer))])
    for plain, again in zip(*grads, strict=True):
        assert torch.equal(plain, again)


def test_checkpointing_with_given_weights_while_the_block_is_open():
    layer, x = _ours(mixing="given"), torch.randn(2, 6, 12, requires_grad=True)
    model = nn.ModuleDict({"t": layer})
    grads = []
    for wrap in (False, True):
        layer.zero_grad()
        with slot_weights(model, torch.tensor([1, 3])):
            (checkpoint(layer, x, use_reentrant=False) if wrap else layer(x)).square().sum().backward()
        grads.append(layer.moelora_B["default"].grad)
    assert torch.equal(*grads)
    assert torch.count_nonzero(grads[0].unflatten(0, (4, 2))[[0, 2]]) == 0


def test_input_without_gradient_and_inference_mode():
    layer, x = _ours(active_slots=[0, 1]), torch.randn(5, 12)
    with torch.inference_mode():
        quiet = layer(x)
    out = layer(x)
    assert torch.equal(out, quiet)
    out.sum().backward()
    assert all(p.grad is not None for p in _parameters(layer))


def test_distributed_data_parallel_steps(tmp_path):
    layer = _ours(dropout=0.2).train()
    plain = copy.deepcopy(layer)
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        wrapped = nn.parallel.DistributedDataParallel(layer)
        for _ in range(2):
            for module in (wrapped, plain):
                torch.manual_seed(5)
                module(torch.randn(3, 12)).square().sum().backward()
    finally:
        # gloo's thread lets go of the last all-reduce with the GIL in hand; `destroy` waits for it and holds the GIL
        time.sleep(0.2)
        torch.distributed.destroy_process_group()
    for mine, theirs in zip(_parameters(layer), _parameters(plain), strict=True):
        assert torch.equal(mine.grad, theirs.grad)


class StoredAsBytes(nn.Linear):
    """Stands in for a quantised base: weights of one byte and a scale, its own forward."""

    def __init__(self, d_in, d_out):
        super().__init__(d_in, d_out, bias=False)
        self.scale = self.weight.detach().abs().max() / 127
        stored = (self.weight.detach() / self.scale).round().to(torch.int8)
        self.weight = nn.Parameter(stored, requires_grad=False)

    def forward(self, x):
        return x @ (self.weight.to(x.dtype) * self.scale).t()


def test_quantised_base_stays_as_it_is_and_is_called_as_it_is(loop_branch):
    base = StoredAsBytes(12, 10)
    before = copy.deepcopy(base.weight)
    settings = {"r": 8, "alpha": 16, "num_experts": 4, "dropout": 0.0, "init_weights": False}
    model = get_peft_model(nn.ModuleDict({"target": base}), MoELoraConfig(target_modules=["target"], **settings))
    layer = next(iter(moelora_layers(model).values()))
    assert layer.base_layer is base
    a, b, router = _parameters(layer)
    assert a.dtype == torch.float32  # not cast to the integer dtype of the base
    x = torch.randn(3, 12, requires_grad=True)
    out = layer(x)
    torch.testing.assert_close(out, loop_branch(base(x), x, a, b, router=router, ranks=[2] * 4, scaling=2.0))
    out.sum().backward()
    assert a.grad is not None
    assert x.grad is not None
    assert torch.equal(base.weight, before)
    with pytest.raises(ConfigError, match="quantised base"):
        merge_slots(model, 1)


@pytest.mark.parametrize("bits", [4, 8])
def test_bitsandbytes_base(bits, loop_branch):
    bnb = pytest.importorskip("bitsandbytes")
    if bits == 4:
        base = bnb.nn.Linear4bit(64, 32, bias=False, compute_dtype=torch.float32, quant_type="nf4").to("cpu")
    else:
        base = bnb.nn.Linear8bitLt(64, 32, bias=False, has_fp16_weights=False).to("cpu")
    config = MoELoraConfig(r=8, num_experts=4, dropout=0.0, target_modules=["target"], init_weights=False)
    model = get_peft_model(nn.ModuleDict({"target": base}), config)
    layer = next(iter(moelora_layers(model).values()))
    assert layer.quantization_backend.backend_name == f"bnb {bits}bit"
    x = torch.randn(3, 64, requires_grad=True)
    out, (a, b, router) = layer(x), _parameters(layer)
    torch.testing.assert_close(out, loop_branch(base(x), x, a, b, router=router, ranks=[2] * 4, scaling=32.0))
    out.sum().backward()
    assert base.weight.dtype in (torch.uint8, torch.int8)
    assert all(p.grad is not None for p in (a, b, router))
    with pytest.raises(ConfigError, match="quantised base"):
        merge_slots(model, 1)
