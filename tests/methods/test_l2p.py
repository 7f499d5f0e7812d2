"""Choice of prompts and pull on keys against slow direct versions; runs are in `contracts/test_methods.py`."""

import pytest
import torch

from coin_lightning.adapters.build import lora, moelora
from coin_lightning.backbones import tiny
from coin_lightning.errors import ConfigError
from coin_lightning.methods.l2p import L2P
from coin_lightning.methods.step import Inputs
from coin_lightning.module import ContinualMLLM
from coin_lightning.schedules import constant
from coin_lightning.tasks.base import InstructionTask
from made_tasks import made_task


@pytest.fixture
def task(write_task, tmp_path) -> InstructionTask:
    made = made_task("toy", write_task(test=6), "Toy", tmp_path / "features", cache_features=False)
    made.connect(tiny.load(max_length=256))
    made.read()
    return made


def build(**options) -> ContinualMLLM:
    torch.manual_seed(0)
    module = ContinualMLLM(
        tiny.load(max_length=256), lora(rank=8, dropout=0.0), L2P(**{"pool": 4, "length": 2, "top": 2, **options}),
        torch.optim.SGD, constant, loss_weighting="micro_batch",
    )  # fmt: skip
    module.log = lambda *_, **__: None
    module.restore(1)
    return module.eval()


def cosines(module: ContinualMLLM, batch, sample: int) -> list[float]:
    """Of one sample and every key, by the definition."""
    query = torch.cat([part[sample] for part in module.frozen_features(batch)])
    return [float(query @ key / (query.norm() * key.norm())) for key in module.method.keys.detach()]


def test_each_sample_takes_the_prompts_of_its_nearest_keys(task):
    module = build()
    batch = task.encoder.train_batch(task.train_samples)
    ids = torch.zeros(len(batch["ids"]), 3, dtype=torch.long)
    given = module.method.inputs(Inputs(ids), batch)
    assert given.ids.shape == (len(ids), 2 * 2 + 3)
    chosen = set()
    for sample in range(len(ids)):
        order = torch.tensor(cosines(module, batch, sample)).argsort(descending=True).tolist()
        assert torch.equal(given.prefix[sample, :2], module.method.prompts[order[0]])
        assert torch.equal(given.prefix[sample, 2:4], module.method.prompts[order[1]])
        chosen.add(tuple(order[:2]))
    assert len(chosen) > 1


def test_the_pull_is_its_definition_and_moves_the_chosen_keys(task):
    module = build(pull=0.5, top=1)
    batch = task.encoder.train_batch(task.train_samples[:1])
    found = module.method.loss(None, batch)
    assert found.item() == pytest.approx(-0.5 * max(cosines(module, batch, 0)), abs=1e-5)
    found.backward()
    moved = [key for key in range(4) if module.method.keys.grad[key].any()]
    assert moved == [max(range(4), key=cosines(module, batch, 0).__getitem__)]


def test_prompts_and_keys_learn_and_the_model_does_not(task):
    module = build(top=4)
    assert {name for name in module.trainable() if "multi_modal_projector" not in name} == {
        "method.prompts", "method.keys",
    }  # fmt: skip
    batch = {**task.encoder.train_batch(task.train_samples[:4]), "samples": 4}
    module.train().training_step(batch, 0).backward()
    assert module.method.prompts.grad.flatten(1).any(dim=1).all()
    groups = {group["name"]: len(group["params"]) for group in module.optimizer_groups()}
    assert groups == {"projector": 4, "method": 2}


def test_prompts_change_answers_and_a_batch_answers_as_its_samples_do_alone(task):
    module = build()

    def answers(samples) -> list[str]:
        return module.predict_step({**task.encoder.answer_batch(samples), "max_new_tokens": 6}, 0)["answers"]

    before = answers(task.test_samples)
    module.method.prompts.data.normal_(std=2.0)
    together = answers(task.test_samples)
    assert together != before
    assert together == [answers([sample])[0] for sample in task.test_samples]


def test_before_any_training_the_model_itself_answers(task):
    module = build()
    module.restore(0)
    batch = task.encoder.train_batch(task.train_samples[:2])
    given = Inputs(torch.zeros(2, 3, dtype=torch.long))
    assert module.method.inputs(given, batch) is given
    module.method.before_experience(None)
    assert module.method.inputs(given, batch).ids.shape == (2, 2 * 2 + 3)


def test_autocast_does_not_round_similarities(task):
    module = build()
    batch = task.encoder.train_batch(task.train_samples)
    features = module.frozen_features(batch)  # the tower may round, as in training
    module.frozen_features = lambda _: features
    exact = module.method._similarity(batch)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(module.method._similarity(batch), exact)


def test_settings_that_cannot_be_are_refused():
    with pytest.raises(ConfigError, match=r"method\.top=9 is more than method\.pool=4"):
        L2P(pool=4, top=9)
    with pytest.raises(ConfigError, match="trains prompts only; use adapter=lora"):
        L2P().adapter(moelora(rank=4, num_experts=2), ())
