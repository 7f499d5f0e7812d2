"""Routing by prototypes against a slow direct version, on a real module; runs are in `contracts/test_methods.py`."""

import math
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from coin_lightning.adapters.build import lora
from coin_lightning.adapters.moelora import moelora_layers
from coin_lightning.backbones import tiny
from coin_lightning.backbones.prompts import Turn
from coin_lightning.methods.hide_llava import HiDeLLaVA
from coin_lightning.methods.step import IGNORE
from coin_lightning.module import ContinualMLLM
from coin_lightning.schedules import constant
from coin_lightning.tasks.base import InstructionTask
from made_tasks import made_task

TASKS = ("a", "b", "c")


@pytest.fixture
def task(write_task, tmp_path) -> InstructionTask:
    made = made_task("toy", write_task(test=6), "Toy", tmp_path / "features", cache_features=False)
    made.connect(tiny.load(max_length=256))
    made.read()
    return made


def build(known: int) -> ContinualMLLM:
    """Random slots and prototypes, of which the first `known` are learned."""
    torch.manual_seed(0)
    adapter = lora(rank=2, alpha=4, dropout=0.0)
    module = ContinualMLLM(
        tiny.load(max_length=256), adapter, HiDeLLaVA(), torch.optim.SGD, constant, loss_weighting="micro_batch",
        tasks=TASKS,
    )  # fmt: skip
    module.restore(known)
    for layer in moelora_layers(module.peft).values():
        layer.moelora_A["default"].data.normal_(std=0.3)
        layer.moelora_B["default"].data.normal_(std=0.3)
    for prototypes in (module.method.images, module.method.texts):
        prototypes.copy_(torch.nn.functional.normalize(torch.randn_like(prototypes), dim=1))
    module.log = lambda *_, **__: None
    return module.eval()


def cosine(one: torch.Tensor, two: torch.Tensor) -> float:
    return float((one @ two) / (one.norm() * two.norm()))


def direct(module: ContinualMLLM, task: InstructionTask, sample, known: int) -> list[float]:
    """Weights of one sample, from its own image and its own words."""
    backbone, method = module.backbone, module.method
    ids = [id_ for id_ in task.encoder.encode(sample)[0] if id_ not in (backbone.image_token_id, backbone.end_id)]
    text = backbone.model.get_input_embeddings()(torch.tensor(ids)).mean(dim=0)
    scores = [cosine(text, method.texts[slot]) for slot in range(known)]
    if sample.image is not None:
        image = backbone.encode_images([task.encoder.pixels(sample.image)])[0].float().mean(dim=0)
        scores = [(score + cosine(image, method.images[slot])) / 2 for slot, score in enumerate(scores)]
    powers = [math.exp(score / 0.1) for score in scores]
    return [power / sum(powers) for power in powers]


@pytest.mark.parametrize("known", [1, 2, 3])
def test_the_last_layer_is_mixed_by_similarity_and_the_others_are_fused(task, known):
    module = build(known)
    weights = module.method.slot_weights(task.encoder.answer_batch(task.test_samples))
    expected = torch.tensor([direct(module, task, sample, known) for sample in task.test_samples])
    for name, weight in weights.items():
        if ".layers.1." in name:  # of two
            assert torch.allclose(weight, expected, atol=5e-3), name  # features are kept in bfloat16
        else:
            assert weight.tolist() == [1.0] * known
    assert len(weights) == 14


def test_autocast_does_not_round_similarities(task):
    module = build(3)
    features = module.frozen_features(task.encoder.answer_batch(task.test_samples))  # the tower may round
    exact = module.method._by_similarity(*features)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(module.method._by_similarity(*features), exact)


def test_before_anything_is_learned_one_slot_takes_part():
    weights = build(0).method.slot_weights({"ids": ["x"]})
    assert {tuple(weight.tolist()) for weight in weights.values()} == {(1.0,)}


def test_a_batch_answers_as_its_samples_do_alone(task):
    module = build(3)

    def answers(samples) -> list[str]:
        return module.predict_step({**task.encoder.answer_batch(samples), "max_new_tokens": 6}, 0)["answers"]

    together = answers(task.test_samples)
    assert together == [answers([sample])[0] for sample in task.test_samples]
    assert len(set(together)) > 1


def test_prototypes_are_mean_directions_of_the_tasks_samples(task):
    module = build(1)
    before = module.method.images[0].clone()
    context = SimpleNamespace(
        module=module,
        samples=lambda: task.train_samples,
        batches=lambda samples: (
            {**task.encoder.train_batch(samples[start : start + 3]), "samples": 3}
            for start in range(0, len(samples), 3)
        ),
        all_reduce=lambda tensor: tensor,
        position=2,
    )
    module.method.before_experience(context)
    module.method.after_experience(context)
    alone = [module.frozen_features(task.encoder.train_batch([sample])) for sample in task.train_samples]
    for kept, part in ((module.method.images, 0), (module.method.texts, 1)):
        total = sum(features[part][0] for features in alone)
        assert torch.allclose(kept[1], total / total.norm(), atol=1e-5)
    assert torch.equal(module.method.images[0], before)


def test_only_the_tasks_own_slot_learns(task):
    module = build(1)
    module.method.before_experience(SimpleNamespace(module=module, position=2))
    batch = {**task.encoder.train_batch(task.train_samples[:4]), "samples": 4}
    module.train().training_step(batch, 0).backward()
    for layer in moelora_layers(module.peft).values():
        gradient = layer.moelora_B["default"].grad
        assert len(gradient) == 4
        assert gradient[2:].any()
        assert not gradient[:2].any()


def test_features_are_those_of_the_question_also_where_markers_are_learned(write_task, tmp_path):
    """Qwen-VL's code counts markers and line breaks of every turn; answers have no labels to tell them by."""
    made = made_task("toy", write_task(test=6), "Toy", tmp_path / "features", cache_features=False)
    made.connect(tiny.load(max_length=256, prompt="qwen_reference"))
    made.read()
    module = ContinualMLLM(
        made.encoder.backbone, lora(rank=2, alpha=4, dropout=0.0), HiDeLLaVA(), torch.optim.SGD, constant,
        loss_weighting="micro_batch", tasks=TASKS,
    )  # fmt: skip
    question = made.test_samples[0]
    turn = Turn(question.text, "an answer", images=len(question.media))
    learned = replace(made.train_samples[0], turns=(turn,), media=question.media)
    training, answering = made.encoder.train_batch([learned]), made.encoder.answer_batch([question])
    assert (training["labels"] != IGNORE).sum() > len("an answer") + 3
    for one, other in zip(module.frozen_features(training), module.frozen_features(answering), strict=True):
        torch.testing.assert_close(one, other)
