"""Gates of the router, counted by the callback in a real `predict`, and the means over batches."""

import warnings
from dataclasses import replace

import lightning as L
import pytest
import torch

from coin_lightning.adapters.build import lora, moelora
from coin_lightning.backbones import tiny
from coin_lightning.backbones.base import Backbone
from coin_lightning.evaluation.router_load import RouterMeter, mean_load
from coin_lightning.methods.base import Method
from coin_lightning.module import ContinualMLLM
from coin_lightning.schedules import constant
from coin_lightning.tasks.base import InstructionTask
from made_tasks import made_task

TARGETS = r".*language_model.*\.(q_proj|down_proj)"


class Opening(Method):
    """A plugin that puts learned vectors before each sample."""

    def inputs(self, inputs, batch):
        return inputs.prepend(torch.ones(len(batch["ids"]), 3, 32))


class Listener(L.Callback):
    """Keeps what the callbacks after the meter get."""

    def __init__(self) -> None:
        self.got: list[dict] = []

    def on_predict_batch_end(self, trainer, pl_module, outputs, batch, batch_idx, dataloader_idx=0):
        self.got.append(outputs)


def build(adapter, **options) -> ContinualMLLM:
    torch.manual_seed(0)
    module = ContinualMLLM(tiny.load(max_length=256), adapter, Method(), torch.optim.SGD, constant, **options)
    for parameter in module.trainable().values():
        parameter.data += 0.2 * torch.randn_like(parameter)
    return module


@pytest.fixture
def task(write_task, tmp_path) -> InstructionTask:
    made = made_task("toy", write_task(), "Toy", tmp_path / "features", cache_features=False)
    made.connect(tiny.load(max_length=256))
    made.read()
    return made


def predict(module: ContinualMLLM, task: InstructionTask, groups: list[list]) -> list[dict]:
    """Predictions of batches of samples, as they reach a callback behind the meter."""
    listener = Listener()
    batches = [{**task.encoder.answer_batch(samples), "max_new_tokens": 6} for samples in groups]
    trainer = L.Trainer(
        accelerator="cpu", callbacks=[RouterMeter(), listener], logger=False, enable_progress_bar=False,
        enable_model_summary=False, enable_checkpointing=False,
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The 'predict_dataloader' does not have many workers")
        loader = torch.utils.data.DataLoader(batches, batch_size=None)
        trainer.predict(module, dataloaders=loader, return_predictions=False)
    assert module.watchers == []
    return listener.got


def end_after(backbone: Backbone, monkeypatch, tokens: list[int]) -> None:
    """Let sample i of the next batch say "a" as often as given, then end; the head is replaced, not the layers."""
    said, limits = {"step": 0}, torch.tensor(tokens)

    def head(hidden):
        logits = torch.zeros(*hidden.shape[:2], 261)
        ended = said["step"] >= limits
        logits[ended, -1, backbone.end_id] = 1.0
        logits[~ended, -1, 5 + ord("a") - ord("!")] = 1.0
        said["step"] += 1
        return logits

    monkeypatch.setattr(backbone.model.lm_head, "forward", head)


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("opening", [0, 3])
def test_padding_and_what_follows_an_answer_do_not_count(task, opening, fast, monkeypatch):
    monkeypatch.setattr("coin_lightning.backbones.greedy.LEAVES", 0)  # the head below knows samples by their places
    plugins = {"opening": Opening()} if opening else {}
    module = build(moelora(rank=4, alpha=8, num_experts=2, dropout=0.0, targets=TARGETS), plugins=plugins)
    module.backbone.fast = fast
    samples = task.test_samples
    end_after(module.backbone, monkeypatch, list(range(len(samples))))
    (together,) = predict(module, task, [samples])
    alone = []
    for at, sample in enumerate(samples):
        end_after(module.backbone, monkeypatch, [at])
        alone += predict(module, task, [[sample]])
    assert len(together["gates"]) == 4  # two targets in two layers
    prompts = sum(len(task.encoder.encode(sample)[0]) + opening for sample in samples)
    for name, (total, count) in together["gates"].items():
        assert count == sum(one["gates"][name][1] for one in alone) == prompts + (0 + 1 + 2 + 3 + 4)
        sums = torch.tensor([one["gates"][name][0] for one in alone]).sum(0)
        assert total == pytest.approx(sums.tolist(), abs=1e-3)
        assert sum(total) == pytest.approx(count, rel=1e-5)  # gates of a token sum to one


def test_each_batch_is_counted_by_itself(task):
    module = build(moelora(rank=4, alpha=8, num_experts=2, dropout=0.0, targets=TARGETS))
    first, second = task.test_samples[:2], task.test_samples[2:4]
    both = predict(module, task, [first, second])
    assert both[1]["gates"] == predict(module, task, [second])[0]["gates"] != both[0]["gates"]


def test_without_a_router_nothing_is_added(task):
    (prediction,) = predict(build(lora(rank=4, alpha=8, dropout=0.0, targets=TARGETS)), task, [task.test_samples[:2]])
    assert set(prediction) == {"ids", "answers"}
    assert mean_load({"toy": [prediction]}) == {}


def test_batches_and_ranks_weigh_by_their_tokens():
    def gates(**layers):
        return {"gates": {name: list(layer) for name, layer in layers.items()}}

    gqa = [
        gates(q=([6.0, 4.0], 10), v=([10.0, 0.0], 10)),
        gates(q=([0.0, 30.0], 30), v=([15.0, 15.0], 30)),
        gates(q=([14.0, 46.0], 60), v=([25.0, 35.0], 60)),
    ]
    load = mean_load({"gqa": gqa, "vqav2": [gates(q=([1.0, 3.0], 4), v=([4.0, 0.0], 4))]})
    assert (load["num_experts"], load["layers"]) == (2, ["q", "v"])
    assert load["load"]["gqa"] == [pytest.approx([0.2, 0.8]), pytest.approx([0.5, 0.5])]
    assert load["load"]["vqav2"] == [[0.25, 0.75], [1.0, 0.0]]


def test_a_pass_that_several_samples_share_counts_for_each_of_them(task):
    """Of one image four questions, of another one: gates and their number as without sharing."""
    module = build(moelora(rank=4, alpha=8, num_experts=2, dropout=0.0, targets=TARGETS))
    image, other = (sample for sample in task.test_samples[:2])
    questions = [replace(image, id=f"x{at}", text=f"Which one of {at}?") for at in range(4)]
    groups = [[*questions, other]]
    (together,) = predict(module, task, groups)
    shared = module.backbone.beginnings
    module.backbone.beginnings = lambda *_: None
    (apart,) = predict(module, task, groups)
    module.backbone.beginnings = shared
    assert together["answers"] == apart["answers"]
    passes = []
    module.watchers.append(lambda real: passes.append(real))
    module.predict_step({**task.encoder.answer_batch(groups[0]), "max_new_tokens": 6}, 0)
    assert len(passes[0]) == 2
    for name, (total, count) in apart["gates"].items():
        assert together["gates"][name][1] == count
        assert together["gates"][name][0] == pytest.approx(total, abs=1e-3)
