import copy
import io
import sys
from functools import partial
from itertools import chain
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from lightning.pytorch.plugins.precision import MixedPrecision
from peft import PeftModel

sys.path.insert(0, str(Path(__file__).parent / "backbones"))

from small_families import small

from coin_lightning.adapters.build import lora, moelora
from coin_lightning.backbones import base, tiny
from coin_lightning.backbones.base import IGNORE
from coin_lightning.errors import ConfigError, RunError
from coin_lightning.methods.base import Method
from coin_lightning.module import PROJECTOR, ContinualMLLM, part_of
from coin_lightning.schedules import constant, cosine
from coin_lightning.tasks.base import InstructionTask
from made_tasks import made_task

TARGETS = r".*language_model.*\.(q_proj|down_proj)"


def build(adapter=None, method=None, lr: float = 0.1, schedule=constant, **options) -> ContinualMLLM:
    torch.manual_seed(0)
    adapter = adapter or moelora(rank=4, alpha=8, num_experts=2, dropout=0.0, targets=TARGETS)
    backbone = tiny.load(max_length=256, dtype=options.pop("dtype", "float32"))
    options.setdefault("loss_weighting", "micro_batch")  # a step by itself, without a trainer that knows the others
    module = ContinualMLLM(backbone, adapter, method or Method(), partial(torch.optim.SGD, lr=lr), schedule, **options)
    module.log = lambda *_, **__: None
    module.total_steps = 4
    return module


@pytest.fixture
def task(write_task, tmp_path) -> InstructionTask:
    made = made_task("toy", write_task(), "Toy", tmp_path / "features", batch_size=4, cache_features=False)
    made.connect(tiny.load(max_length=256))
    made.read()
    return made


def learned(task: InstructionTask, samples) -> dict:
    """A training batch as its loader gives it."""
    return {**task.encoder.train_batch(samples), "samples": len(samples)}


@pytest.fixture
def batch(task) -> dict:
    return learned(task, task.train_samples[:4])


def disturb(module: ContinualMLLM) -> None:
    """Move all trainable weights away from their start, where B = 0 hides half of the adapter."""
    for parameter in module.trainable().values():
        parameter.data += 0.2 * torch.randn_like(parameter)


@pytest.mark.parametrize("adapter", [moelora, lora])
def test_the_loss_is_that_of_transformers_over_all_logits_with_masks(task, batch, adapter):
    options = {"num_experts": 2} if adapter is moelora else {}
    module = build(adapter(rank=4, alpha=8, dropout=0.0, targets=TARGETS, **options)).eval()
    disturb(module)
    features = module.image_features(batch)
    loss = module.training_step(batch, 0)
    lengths = [len(task.encoder.encode(sample)[0]) for sample in task.train_samples[:4]]
    mask = torch.tensor([[1] * length + [0] * (max(lengths) - length) for length in lengths])
    images = module.backbone.project(features, [*chain(*batch["grids"])])
    logits = module.backbone.model(
        input_ids=batch["input_ids"], attention_mask=mask, mm_encoder_outputs={"image": images}
    ).logits  # every position
    terms = [
        -F.log_softmax(logits[sample, at - 1], dim=-1)[batch["labels"][sample, at]]
        for sample in range(4) for at in range(1, max(lengths)) if batch["labels"][sample, at] != IGNORE
    ]  # fmt: skip
    assert len(terms) == sum(len(sample.turns[0].answer) + 1 for sample in task.train_samples[:4])
    assert loss.item() == pytest.approx(torch.stack(terms).mean().item(), abs=1e-5)


def test_cached_features_and_pixels_give_the_same_loss(batch):
    module = build().eval()
    features = module.image_features(batch)
    cached = {name: value for name, value in batch.items() if name != "pixels"} | {"features": features}
    assert torch.equal(module.training_step(batch, 0), module.training_step(cached, 0))
    assert module.image_features({"input_ids": batch["input_ids"]}) is None


def test_tokens_and_losses_are_counted(batch):
    module = build()
    first = module.training_step(batch, 0)
    module.training_step(batch, 1)
    seen = module.progress
    assert (seen.batches, seen.samples, seen.images) == (2, 8, 3 * 2)  # every third sample has no image
    assert seen.tokens == 2 * batch["input_ids"].numel()
    assert (seen.loss_first, seen.steps) == (pytest.approx(first.item()), 0)


def test_a_loss_that_is_no_number_names_the_samples(batch):
    module = build()
    next(iter(module.trainable().values())).data.fill_(float("nan"))
    with pytest.raises(RunError, match=r"training diverged: loss nan in step 1 of the task, samples n0, n1, n2, n3\."):
        module.training_step(batch, 0)
    assert module.progress.batches == 0
    with pytest.raises(RunError, match="1 trainable tensors are not finite behind step 0"):
        module.check_finite()


def test_a_loss_of_the_method_that_is_no_number_is_told_apart(batch):
    class Broken(Method):
        def loss(self, step, batch):
            return step.logits.sum() * float("inf")

    with pytest.raises(RunError, match=r"training diverged: loss \d.*, added by the method "):
        build(method=Broken()).training_step(batch, 0)


@pytest.mark.parametrize("returned", [0.0, "none", torch.ones(3)], ids=str)
def test_a_loss_of_another_kind_names_who_returned_it(batch, returned):
    class Broken(Method):
        def loss(self, step, batch):
            return returned

    with pytest.raises(RunError, match=r"method: `loss` returned .*; it must be a tensor without dimensions, or None"):
        build(method=Broken()).training_step(batch, 0)


@pytest.mark.parametrize("several", [False, True])
def test_a_batch_without_images_still_reaches_the_projector_with_any_number_of_ranks(task, monkeypatch, several):
    module, alone = build().eval(), build().eval()
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: several)
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda tensor: None)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 1)
    batch = learned(task, [sample for sample in task.train_samples if sample.image is None])
    loss = module.training_step(batch, 0)
    monkeypatch.undo()
    assert loss.item() == alone(batch).loss.item()
    loss.backward()
    grads = [parameter.grad for name, parameter in module.trainable().items() if PROJECTOR in name]
    assert all(grad is not None and not grad.any() for grad in grads)


def test_only_adapter_and_projector_learn_and_in_float32():
    module = build(dtype="bfloat16")
    names = module.trainable()
    assert {name.split(".")[-1] if PROJECTOR in name else name.split(".")[-2] for name in names} == {
        "weight", "bias", "moelora_A", "moelora_B", "moelora_router"
    }  # fmt: skip
    assert all(parameter.dtype is torch.float32 for parameter in names.values())
    assert sum(PROJECTOR in name for name in names) == 4
    assert isinstance(module.peft, PeftModel)
    assert len({id(parameter) for parameter in module.parameters()}) == len(list(module.parameters()))


def test_a_frozen_projector_stays_out(batch):
    module = build(projector="frozen")
    assert not any(PROJECTOR in name for name in module.trainable())
    module.training_step(batch, 0).backward()
    assert module.backbone.core.multi_modal_projector.linear_1.weight.grad is None
    assert [group["name"] for group in module.optimizer_groups()] == ["adapter"]


def test_an_unknown_projector_mode_is_refused():
    with pytest.raises(ConfigError, match=r"protocol\.projector='melted' is unknown; use one of carried, reinit"):
        build(projector="melted")


def step_sizes(module: ContinualMLLM, batch: dict) -> dict[str, torch.Tensor]:
    """How far each trainable tensor moves in one SGD step, divided by its gradient: its real learning rate."""
    configured = module.configure_optimizers()
    before = {name: parameter.detach().clone() for name, parameter in module.trainable().items()}
    module.training_step(batch, 0).backward()
    configured["optimizer"].step()
    rates = {}
    for name, parameter in module.trainable().items():
        at = parameter.grad.abs().argmax()
        rates[name] = ((before[name] - parameter).flatten()[at] / parameter.grad.flatten()[at]).item()
    return rates


def test_the_projectors_own_learning_rate_takes_effect(batch):
    module = build(lr=0.1, projector_lr=0.02)
    disturb(module)
    rates = step_sizes(module, batch)
    assert [rate for name, rate in rates.items() if PROJECTOR in name] == pytest.approx([0.02] * 4, rel=1e-2)
    assert [rate for name, rate in rates.items() if PROJECTOR not in name] == pytest.approx(
        [0.1] * (len(rates) - 4), rel=1e-2
    )


def test_without_one_it_takes_the_optimizers_and_zero_means_zero(batch):
    assert {group["name"]: group["lr"] for group in build(lr=0.3).optimizer_groups()} == {
        "adapter": 0.3, "projector": 0.3
    }  # fmt: skip
    still = build(lr=0.3, projector_lr=0.0)
    disturb(still)
    assert all((rate == 0.0) is (PROJECTOR in name) for name, rate in step_sizes(still, batch).items())


def test_the_schedule_scales_both_groups_over_the_steps_of_the_task():
    module = build(lr=1.0, projector_lr=0.1, schedule=partial(cosine, warmup_ratio=0.0))
    configured = module.configure_optimizers()
    scheduler = configured["lr_scheduler"]["scheduler"]
    assert configured["lr_scheduler"]["interval"] == "step"
    for _ in range(2):
        configured["optimizer"].step()
        scheduler.step()
    assert scheduler.get_last_lr() == pytest.approx([0.5, 0.05])  # half of the four steps


def test_nothing_to_train_is_refused():
    module = build()
    module.total_steps = 0
    with pytest.raises(RunError, match="0 steps: there is nothing to train"):
        module.configure_optimizers()
    module.total_steps = 4
    module.requires_grad_(False)
    with pytest.raises(RunError, match="0 trainable tensors"):
        module.configure_optimizers()


def test_a_reset_leaves_the_projector_that_disable_adapter_shows(batch):
    module = build().eval()
    frozen = {name: value.clone() for name, value in module.named_parameters() if "original_module" in name}
    assert len(frozen) == 4
    with module.peft.disable_adapter():
        before = module.training_step(batch, 0)
    module.reset_projector()
    with module.peft.disable_adapter():
        assert torch.equal(module.training_step(batch, 0), before)
    assert all(torch.equal(value, dict(module.named_parameters())[name]) for name, value in frozen.items())
    assert module.training_step(batch, 0).item() != before.item()


def test_a_projector_of_which_nobody_says_how_it_is_drawn_is_not_reset():
    def made(family: str, projector: str) -> ContinualMLLM:
        adapter = lora(rank=4, alpha=8, targets=["q_proj"])
        return ContinualMLLM(
            small(family), adapter, Method(), partial(torch.optim.AdamW), constant, projector=projector
        )

    for family in ("gemma3", "qwen2_5_vl"):
        assert made(family, "carried").trainable()
        with pytest.raises(ConfigError, match=rf"projector=reinitialised: {family} has a \w+ in its projector"):
            made(family, "reinitialised")
    module = made("qwen3_vl", "reinitialised")
    before = {
        name: weight.detach().clone() for name, weight in module.trainable().items() if part_of(name) == "projector"
    }
    module.reset_projector()
    changed = {name for name, weight in before.items() if not torch.equal(weight, module.trainable()[name])}
    assert {name for name in before if "linear" in name and name.endswith("weight")} <= changed


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_reset_projector_is_the_same_wherever_the_model_lies():
    found = []
    for device in ("cpu", "cuda"):
        module = build().to(device)
        torch.manual_seed(5)
        module.reset_projector()
        found.append({name: weight.cpu() for name, weight in module.trainable().items() if PROJECTOR in name})
        assert {weight.device.type for weight in module.parameters()} == {device}
    assert all(torch.equal(weight, found[1][name]) for name, weight in found[0].items())


def test_a_reset_projector_is_drawn_anew_from_the_global_state():
    module = build()
    weights = {name: parameter for name, parameter in module.trainable().items() if PROJECTOR in name}
    before = {name: parameter.detach().clone() for name, parameter in weights.items()}
    torch.manual_seed(5)
    module.reset_projector()
    first = {name: parameter.detach().clone() for name, parameter in weights.items()}
    torch.manual_seed(5)
    module.reset_projector()
    assert all(torch.equal(first[name], parameter) for name, parameter in weights.items())
    assert not any(torch.equal(first[name], before[name]) for name in weights)
    bound = weights[next(name for name in weights if name.endswith("linear_1.weight"))].abs().max()
    assert bound <= 16**-0.5  # nn.Linear draws from U(-1/sqrt(inputs), 1/sqrt(inputs))


class Spy(Method):
    """Notes what is called, adds twice the mean of the logits to the loss, and may route every sample to one slot."""

    def __init__(self, slot: int | None = None) -> None:
        super().__init__()
        self.calls: list[str] = []
        self.slot = slot
        self.register_buffer("importance", torch.tensor([1.0, 2.0], dtype=torch.float64))

    def slot_weights(self, batch):
        self.calls.append("slot_weights")
        return None if self.slot is None else torch.full((len(batch["ids"]),), self.slot)

    def inputs(self, inputs, batch):
        self.calls.append("inputs")
        return inputs

    def loss(self, step, batch):
        self.calls.append("loss")
        step.logits.register_hook(lambda grad: self.calls.append("backward"))
        return 2 * step.logits.mean()

    def before_step(self, model):
        self.calls.append("before_step")


def test_hooks_run_in_order_of_the_config_and_add_up(batch):
    method, plugin, plain = Spy(), Spy(), build().eval()
    plugin.calls = method.calls
    module = build(method=method, plugins={"second": plugin}).eval()
    plain_loss = plain.training_step(batch, 0)
    loss = module.training_step(batch, 0)
    images = plain.backbone.project(plain.image_features(batch), [*chain(*batch["grids"])])
    hidden = plain.backbone.hidden_states(batch["input_ids"], images)
    logits, _ = plain.backbone.answer_logits(hidden, batch["labels"])
    assert loss.item() == pytest.approx((plain_loss + 4 * logits.mean()).item(), abs=1e-6)
    assert module.progress.loss_first == plain_loss.item()  # the reported loss is the task's own
    loss.backward()
    module.on_after_backward()
    module.on_before_optimizer_step(None)
    hooks = ["inputs", "inputs", "loss", "loss"]
    assert method.calls == ["slot_weights", *hooks, "backward", "backward", "before_step", "before_step"]


@pytest.mark.parametrize("recompute", [False, True])
def test_a_method_routes_training_answers_and_recomputed_layers(batch, task, recompute):
    """Slot 1 alone: the other one gets no gradient, and what lies in it changes no answer."""
    module = build(method=Spy(slot=1))
    disturb(module)
    if recompute:
        module.backbone.core.language_model.gradient_checkpointing_enable({"use_reentrant": False})
    module.train()
    module.training_step(batch, 0).backward()
    module.on_after_backward()
    slots = [weight for name, weight in module.trainable().items() if "moelora_B" in name]
    assert slots
    for weight in slots:
        assert weight.grad[2:].any()  # of rank 2 each
        assert not weight.grad[:2].any()
    before = answer(module.eval(), task, task.test_samples)["answers"]
    for weight in slots:
        weight.data[:2] = 5.0
    assert answer(module, task, task.test_samples)["answers"] == before


def test_a_forward_pass_gives_every_learned_token_with_its_sample(batch):
    module = build().eval()
    step = module(batch)
    learned = [(batch["labels"][sample, 1:] != IGNORE).sum().item() for sample in range(len(batch["ids"]))]
    assert step.sample_of_target.bincount().tolist() == learned
    assert step.targets.tolist() == [
        id_ for sample in batch["labels"][:, 1:].tolist() for id_ in sample if id_ != IGNORE
    ]
    pairs = zip(step.logits.float().log_softmax(-1), step.targets, strict=True)
    direct = torch.stack([-logits[id_] for logits, id_ in pairs])
    assert torch.allclose(step.losses, direct, atol=1e-5)
    assert step.loss.item() == pytest.approx(direct.mean().item(), abs=1e-5)


def test_a_fused_optimizer_leaves_unscaling_to_lightning_which_then_clips():
    module = build()
    module.optimizer = partial(torch.optim.AdamW, lr=0.1, fused=True)
    optimizer = module.configure_optimizers()["optimizer"]
    for weight in module.trainable().values():
        weight.grad = torch.full_like(weight, 3.0)
    MixedPrecision("bf16-mixed", "cpu").clip_gradients(optimizer, 1.0)  # refuses those that unscale by themselves
    norm = torch.stack([weight.grad.square().sum() for weight in module.trainable().values()]).sum().sqrt()
    assert norm.item() == pytest.approx(1.0, rel=1e-3)
    before = {name: weight.detach().clone() for name, weight in module.trainable().items()}
    optimizer.step()
    assert all(not torch.equal(before[name], weight) for name, weight in module.trainable().items())


# answering


def answer(module: ContinualMLLM, task: InstructionTask, samples) -> dict:
    return module.predict_step({**task.encoder.answer_batch(samples), "max_new_tokens": 6}, 0)


def test_parts_of_a_batch_without_images_are_answered_from_pixels(task, monkeypatch):
    """As on a CPU, where prompts are read in parts and those without an image come together."""
    module, samples = build().eval(), task.test_samples
    assert {*map(len, task.encoder.answer_batch(samples)["grids"])} == {0, 1}
    together = answer(module, task, samples)
    monkeypatch.setattr(base, "READ_AT_ONCE", 1)
    assert answer(module, task, samples) == together


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_batch_answers_as_its_samples_do_one_by_one(task, seed):
    module = build().eval()
    torch.manual_seed(seed)
    disturb(module)
    samples = task.test_samples
    together = answer(module, task, samples)
    alone = [answer(module, task, [sample]) for sample in samples]
    assert together["ids"] == [sample.id for sample in samples]
    assert together["answers"] == [one["answers"][0] for one in alone]


# checkpoints


def saved(module: ContinualMLLM) -> dict:
    checkpoint = {"state_dict": module.state_dict()}
    module.on_save_checkpoint(checkpoint)
    buffer = io.BytesIO()
    torch.save(checkpoint, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=True)


def test_a_checkpoint_holds_trainable_weights_method_state_and_random_state_only():
    module = build(method=Spy())
    checkpoint = saved(module)
    assert set(checkpoint["state_dict"]) == set(module.trainable())
    assert checkpoint["method_state"]["method.importance"].tolist() == [1.0, 2.0]
    assert checkpoint["method_state"]["method.importance"].dtype == torch.float64
    small = sum(tensor.numel() for tensor in checkpoint["state_dict"].values())
    assert small < 0.3 * sum(tensor.numel() for tensor in module.state_dict().values())


def test_it_puts_all_of_that_back():
    module = build(method=Spy())
    module.method.importance[0] = 7.0
    disturb(module)
    checkpoint = saved(module)
    expected = torch.rand(4)
    fresh = build(method=Spy())
    fresh.on_load_checkpoint(checkpoint)
    fresh.load_state_dict(checkpoint["state_dict"], strict=fresh.strict_loading)
    assert all(torch.equal(fresh.trainable()[name], parameter) for name, parameter in module.trainable().items())
    assert fresh.method.importance.tolist() == [7.0, 2.0]
    torch.rand(9)
    fresh.on_train_batch_start(None, 0)
    assert torch.equal(torch.rand(4), expected)
    state = torch.get_rng_state()
    fresh.on_train_batch_start(None, 1)  # the first batch only
    assert torch.equal(torch.get_rng_state(), state)


def test_the_state_of_other_methods_is_refused():
    checkpoint = saved(build(method=Spy()))
    with pytest.raises(RunError, match=r"fit those of the config, e\.g\. method\.importance; give the command"):
        build().on_load_checkpoint(checkpoint)
    checkpoint["method_state"]["method.importance"] = torch.zeros(3)
    with pytest.raises(RunError, match=r"e\.g\. method\.importance"):
        build(method=Spy()).on_load_checkpoint(checkpoint)


def test_what_was_learned_goes_on_where_it_was(batch):
    module = build()
    module.training_step(batch, 0)
    fresh = build()
    fresh.on_load_checkpoint(saved(module))
    assert fresh.progress == module.progress
    fresh.training_step(batch, 1)
    assert fresh.progress.samples == 8


def test_a_task_of_more_ranks_is_not_continued_by_fewer():
    checkpoint = saved(build())
    checkpoint["ranks"] *= 2
    with pytest.raises(RunError, match=r"begun by 2 processes and cannot be continued by 1: .*Start 2, or remove"):
        build().on_load_checkpoint(checkpoint)


@pytest.mark.parametrize("change", ["lacks", "has more", "another shape"])
def test_a_checkpoint_of_another_model_is_refused(change):
    module = build()
    checkpoint = copy.copy(saved(module))
    name = sorted(checkpoint["state_dict"])[0]
    if change == "lacks":
        del checkpoint["state_dict"][name]
    elif change == "another shape":
        checkpoint["state_dict"][name] = checkpoint["state_dict"][name].unflatten(0, (2, -1))
    else:
        name = "backbone.model.lm_head.weight"
        checkpoint["state_dict"][name] = torch.zeros(1)
    message = f"last.ckpt does not fit the model: 1 tensors differ in name or shape, e.g. {name}; .*Remove it"
    with pytest.raises(RunError, match=message):
        module.on_load_checkpoint(checkpoint)


def test_a_bfloat16_base_trains_under_autocast(batch):
    module = build(dtype="bfloat16")
    disturb(module)
    with torch.autocast("cpu", torch.bfloat16):
        loss = module.training_step(batch, 0)
    loss.backward()
    assert loss.item() == pytest.approx(_float32_loss(module, batch), rel=0.05)
    assert all(parameter.grad is not None for parameter in module.trainable().values())


def _float32_loss(module: ContinualMLLM, batch: dict) -> float:
    wide = copy.deepcopy(module.backbone).float().eval()
    images = wide.project(torch.cat(wide.encode_images(batch["pixels"])), [*chain(*batch["grids"])])
    hidden = wide.hidden_states(batch["input_ids"], images)
    return F.cross_entropy(*wide.answer_logits(hidden, batch["labels"])).item()
