"""Layers of one parent on one input: what is computed together, what is not, and that nothing but the speed changes."""

import copy
import time
from functools import partial

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from peft.tuners.lora.layer import Linear as PeftLinear
from torch import nn
from torch.utils.checkpoint import checkpoint

from coin_lightning.adapters import grouped_function
from coin_lightning.adapters.build import lora, moelora, save_adapter
from coin_lightning.adapters.moelora import (
    MoELoraConfig,
    add_slots,
    merge_slots,
    set_active_slots,
    set_trainable_slots,
    unmerge_slots,
)
from coin_lightning.adapters.routing import router_load, slot_weights
from coin_lightning.adapters.shared_input import GroupedLora, share_inputs
from coin_lightning.backbones import tiny
from coin_lightning.methods.base import Method
from coin_lightning.module import ContinualMLLM
from coin_lightning.schedules import constant
from made_tasks import made_task

NAMES = ["q", "k", "v", "o"]


class Block(nn.Module):
    """As an attention block: three layers on the same tensor, a fourth one behind them."""

    def __init__(self):
        super().__init__()
        self.q, self.k, self.v, self.o = nn.Linear(6, 8), nn.Linear(6, 4), nn.Linear(6, 4, bias=False), nn.Linear(8, 6)
        self.after = None

    def forward(self, x):
        q, k, v = self.q(x), self.k(x), self.v(x)
        if self.after is not None:
            self.after()
        return self.o(q * torch.cat([k, v], -1).tanh())


def _config(kind="moelora", **settings):
    if kind == "lora":
        return LoraConfig(**{"r": 4, "lora_alpha": 8, "target_modules": NAMES, "init_lora_weights": False} | settings)
    common = {"r": 4, "alpha": 8, "num_experts": 2, "dropout": 0.0, "target_modules": NAMES, "init_weights": False}
    return MoELoraConfig(**common | settings)


def _pair(config, parent=Block):
    """The same model with and without groups."""
    torch.manual_seed(0)
    plain = get_peft_model(nn.Sequential(parent(), parent()), config).train()
    fast = copy.deepcopy(plain)
    share_inputs(fast)
    return plain, fast


def _grads(model, run=None):
    model.zero_grad()
    torch.manual_seed(1)
    x = torch.randn(2, 5, 6, requires_grad=True)
    out = model(x) if run is None else run(model, x)
    out.square().sum().backward()
    return [out, x.grad, *(weight.grad for weight in model.parameters() if weight.requires_grad)]


@pytest.fixture
def sizes(monkeypatch):
    """How many layers each call of the group's function computes."""
    found, real = [], grouped_function.grouped_linears

    def counted(x, banks, dtype):
        found.append(len(banks))
        return real(x, banks, dtype)

    monkeypatch.setattr("coin_lightning.adapters.shared_input.grouped_linears", counted)
    return found


def _same(plain, fast, run=None):
    for wanted, got in zip(_grads(plain, run), _grads(fast, run), strict=True):
        torch.testing.assert_close(got, wanted)


@pytest.mark.parametrize("kind", ["moelora", "lora"])
def test_layers_on_one_input_are_computed_once_and_give_the_same(kind, sizes):
    plain, fast = _pair(_config(kind))
    _same(plain, fast)
    assert sizes == [3, 1] * 2
    _same(plain, fast)
    assert sizes == [3, 1] * 4


def test_the_first_pass_is_computed_as_all_others_and_draws_no_random_numbers():
    _, fast = _pair(_config())
    first, state = _grads(fast), torch.get_rng_state()
    again = _grads(fast)
    assert all(torch.equal(one, other) for one, other in zip(first, again, strict=True))
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize("kind", ["moelora", "lora"])
def test_evaluation_is_grouped_as_well(kind, sizes):
    plain, fast = _pair(_config(kind))
    x = torch.randn(2, 5, 6)
    with torch.inference_mode():
        torch.testing.assert_close(fast.eval()(x), plain.eval()(x))
    assert sizes == [3, 1] * 2


def test_the_pass_that_is_watched_leaves_no_keys_behind(sizes):
    """The first answer of a model is that of the second, and that of one without groups."""
    answers = []
    for fast in ("auto", "auto", "off"):
        module = _module(moelora(rank=4, alpha=8, num_experts=2, dropout=0.0), fast).eval()
        ids = torch.randint(10, 200, (3, 9), generator=torch.Generator().manual_seed(4))
        answers += [module.backbone.answer(ids, torch.ones_like(ids), 8) for _ in range(2)]
    assert all(each == answers[0] for each in answers)
    assert any(answers[0])
    assert sizes


SHARED = {
    "active": lambda model: set_active_slots(model, [1]),
    "trainable": lambda model: set_trainable_slots(model, [0]),
    "added slot": lambda model: add_slots(model, [2]),
    "weights replaced": lambda model: model.load_state_dict(
        {name: 0.3 * torch.randn_like(tensor) for name, tensor in model.state_dict().items()}
    ),
    "weights written into": lambda model: [weight.data.mul_(2.0) for weight in model.parameters()],
    "unmerged": lambda model: (merge_slots(model, 1), unmerge_slots(model)),
}


@pytest.mark.parametrize("change", SHARED)
def test_changes_between_steps_are_seen(change, sizes):
    plain, fast = _pair(_config())
    _same(plain, fast)
    for model in (plain, fast):
        torch.manual_seed(2)
        SHARED[change](model)
    _same(plain, fast)
    assert sizes == [3, 1] * 4


def test_given_weights_of_each_sample(sizes):
    plain, fast = _pair(_config(mixing="given"))

    def routed(model, x):
        with slot_weights(model, torch.tensor([[0.5, 2.0], [1.0, 0.0]])):
            return model(x)

    _same(plain, fast, routed)
    assert sizes == [3, 1] * 2


ALONE = {
    "dropout": (_config(dropout=0.5), None),
    "dropout of LoRA": (_config("lora", lora_dropout=0.5), None),
    "DoRA": (_config("lora", use_dora=True), None),
    "bias of LoRA": (_config("lora", lora_bias=True, target_modules=["q", "k", "o"]), None),
    "shared A": (_config(shared_a=True), None),
    "ranks": (_config(ranks=[1, 3]), None),
    "merged": (_config(), lambda model: merge_slots(model, 1)),
    "merged LoRA": (_config("lora"), lambda model: model.merge_adapter()),
    "disabled": (_config(), lambda model: model.base_model.disable_adapter_layers()),
    "frozen": (_config(), lambda model: [weight.requires_grad_(False) for weight in model.parameters()]),
    "two at once": (
        _config(),
        lambda model: (model.add_adapter("b", _config()), model.base_model.set_adapter(["default", "b"])),
    ),
    "hook of a base": (_config(), lambda model: [_hooked(model, name) for name in NAMES]),
}


def _hooked(model, name):
    for block in model.base_model.model:
        getattr(block, name).base_layer.register_forward_hook(lambda module, args, output: output * 2)


@pytest.mark.parametrize("case", ALONE)
def test_what_a_group_cannot_do_each_layer_does_by_itself(case, sizes):
    config, change = ALONE[case]
    plain, fast = _pair(copy.deepcopy(config))
    for model in (plain, fast) if change else ():
        torch.manual_seed(2)
        change(model)
    for wanted, got in zip(_grads(plain), _grads(fast), strict=True):
        assert (got is None and wanted is None) or torch.equal(got, wanted)
    assert sizes == []


def test_slot_weights_that_learn_are_not_grouped(sizes):
    plain, fast = _pair(_config(mixing="given"))
    weights = torch.tensor([0.3, 0.7], requires_grad=True)

    def routed(model, x):
        with slot_weights(model, weights):
            return model(x)

    _same(plain, fast, routed)
    assert sizes == []


def test_other_bases_are_called_as_they_are(sizes):
    class Stored(nn.Linear):
        def forward(self, x):
            return super().forward(x).round()

    class Quantised(Block):
        def __init__(self):
            super().__init__()
            self.k = Stored(6, 4)

    plain, fast = _pair(_config(), Quantised)
    _same(plain, fast)
    assert sizes == [1, 1]  # o


@pytest.mark.parametrize("use_reentrant", [False, True])
@pytest.mark.parametrize("kind", ["moelora", "lora"])
def test_recomputed_blocks_give_the_same_gradients(use_reentrant, kind, sizes):
    _, fast = _pair(_config(kind))

    def again(model, x):
        for block in model.base_model.model:
            x = checkpoint(block, x, use_reentrant=use_reentrant)
        return x

    for wanted, got in zip(_grads(fast), _grads(fast, again), strict=True):
        assert torch.equal(got, wanted)
    assert sizes == [3, 1] * 6
    for block in fast.base_model.model:
        assert not block.q.parent_pass._waiting


def test_accumulated_gradients_are_the_sum():
    plain, fast = _pair(_config())
    for model in (plain, fast):
        torch.manual_seed(3)
        for _ in range(3):
            model(torch.randn(2, 5, 6)).square().sum().backward()
    for wanted, got in zip(plain.parameters(), fast.parameters(), strict=True):
        torch.testing.assert_close(got.grad, wanted.grad)


@pytest.mark.parametrize("kind", ["moelora", "lora"])
def test_distributed_data_parallel_steps(kind, tmp_path, sizes):
    plain, fast = _pair(_config(kind))
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        for model in (plain, nn.parallel.DistributedDataParallel(fast)):
            torch.manual_seed(3)
            for _ in range(2):
                model(torch.randn(2, 5, 6)).square().sum().backward()
    finally:
        time.sleep(0.2)  # gloo's thread lets go of the last all-reduce with the GIL in hand
        torch.distributed.destroy_process_group()
    for wanted, got in zip(plain.parameters(), fast.parameters(), strict=True):
        torch.testing.assert_close(got.grad, wanted.grad)
    assert sizes == [3, 1] * 4


def test_an_error_within_a_pass_leaves_nothing_behind():
    _, fast = _pair(_config())
    _grads(fast)
    block = fast.base_model.model[0]
    x = torch.randn(2, 5, 6)

    def wrong(_):
        raise ValueError("stop")

    hook = block.k.register_forward_pre_hook(lambda module, args: wrong(args))
    with pytest.raises(ValueError, match="stop"):
        fast(x)
    hook.remove()
    watched = block.q.parent_pass
    assert (watched._input, dict(watched._waiting), watched._open) == (None, {}, False)
    plain = copy.deepcopy(block).eval()
    torch.testing.assert_close(block.k(x), plain.k(x))  # outside a pass: by itself


def test_layers_that_get_another_tensor_are_not_in_the_group(sizes):
    class Apart(Block):
        def forward(self, x):
            return self.o(self.q(x) * torch.cat([self.k(x), self.v(x + 1)], -1))

    _same(*_pair(_config(), Apart))
    assert sizes == [2, 1, 1] * 2


def test_a_layer_asked_twice_and_one_that_is_seldom_asked(sizes):
    class Odd(Block):
        seldom = False

        def forward(self, x):
            v = self.v(x) if self.seldom else 0 * self.q(x)[..., :4]
            return self.o(torch.cat([self.k(x), v], -1) + self.q(x))

    plain, fast = _pair(_config(), Odd)
    unused = [name for name, _ in plain.named_parameters() if ".v." in name]
    assert unused
    for model in (plain, fast):
        model(torch.randn(2, 6)).sum().backward()
        for block in model.base_model.model:
            block.seldom = True
    _same(plain, fast)


def test_statistics_of_the_gates_are_sent():
    plain, fast = _pair(_config())
    x, totals = torch.randn(2, 5, 6), []
    for model in (plain, fast):
        with router_load(model) as load:
            model(x)
        totals.append(load.totals())
    assert len(totals[0]) == 8
    for name, (gates, count) in totals[0].items():
        torch.testing.assert_close(totals[1][name][0], gates, rtol=1e-5, atol=1e-5)
        assert totals[1][name][1] == count


def test_mixed_precision_is_as_near_to_float32_as_before():
    errors = []
    plain, fast = _pair(_config(r=32, num_experts=8))
    wanted = torch.cat([grad.flatten() for grad in _grads(plain)[1:]])
    for model in (plain, fast):
        with torch.autocast("cpu", torch.bfloat16):
            got = torch.cat([grad.flatten() for grad in _grads(model)[1:]])
        errors.append(((got - wanted).norm() / wanted.norm()).item())
    assert errors[1] < 1.1 * errors[0]


def test_lora_keeps_pefts_files_and_other_layers(tmp_path):
    plain, fast = _pair(_config("lora"))
    assert {type(m) for m in fast.modules() if isinstance(m, PeftLinear)} == {GroupedLora}
    for name, model in {"plain": plain, "fast": fast}.items():
        save_adapter(model, tmp_path / name)  # PEFT alone writes names in the order of a set
    for file in (tmp_path / "plain").iterdir():
        assert (tmp_path / "fast" / file.name).read_bytes() == file.read_bytes()
    again = PeftModel.from_pretrained(nn.Sequential(Block(), Block()), tmp_path / "fast")
    assert {type(m) for m in again.modules() if isinstance(m, PeftLinear)} == {PeftLinear}


# through a whole model


def _module(adapter, fast, **options):
    torch.manual_seed(0)
    backbone = tiny.load(max_length=256, fast=fast, **options)
    module = ContinualMLLM(
        backbone, adapter, Method(), partial(torch.optim.SGD, lr=0.1), constant, loss_weighting="micro_batch"
    )
    module.log = lambda *_, **__: None
    module.total_steps = 4
    for parameter in module.trainable().values():
        parameter.data += 0.2 * torch.randn_like(parameter)
    return module.train()


@pytest.fixture
def batch(write_task, tmp_path):
    task = made_task("toy", write_task(), "Toy", tmp_path / "features", batch_size=4, cache_features=False)
    task.connect(tiny.load(max_length=256))
    task.read()
    return {**task.encoder.train_batch(task.train_samples[:4]), "samples": 4}


def _learned(module, batch):
    loss = module.training_step(batch, 0)
    loss.backward()
    module.on_after_backward()
    return loss.detach(), torch.cat([weight.grad.flatten() for weight in module.trainable().values()])


@pytest.mark.parametrize("recompute", ["none", "all"])
@pytest.mark.parametrize("kind", [partial(moelora, num_experts=2), lora])
def test_a_models_loss_and_gradients_are_those_of_the_plain_path(kind, recompute, batch, sizes):
    adapter = partial(kind, rank=4, alpha=8, dropout=0.0)
    wanted = _learned(_module(adapter(), "off"), batch)
    assert sizes == []
    loss, grads = _learned(_module(adapter(), "auto", gradient_checkpointing=recompute), batch)
    assert sorted(sizes) == sorted([3, 1, 2, 1] * 2 * (1 if recompute == "none" else 2))
    assert loss.item() == pytest.approx(wanted[0].item(), rel=1e-6)
    assert (grads - wanted[1]).norm() < 1e-5 * wanted[1].norm()
