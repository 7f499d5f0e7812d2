"""`ContinualLoop` with the tiny backbone, in one process: position, promises about steps and weights, counters."""

from functools import partial
from pathlib import Path
from types import SimpleNamespace

import lightning as L
import pytest
import torch
from lightning.pytorch.plugins import MixedPrecision
from torch.optim.optimizer import register_optimizer_step_post_hook

from coin_lightning.adapters.build import lora, moelora
from coin_lightning.continual.callback import ContinualLoop
from coin_lightning.continual.run_dir import RunDir
from coin_lightning.continual.scenario import Scenario
from coin_lightning.errors import RunError
from coin_lightning.evaluation.suite import Suite
from coin_lightning.methods.base import Method
from coin_lightning.module import ContinualMLLM
from coin_lightning.quiet import quiet_libraries
from coin_lightning.run_files import read_json
from coin_lightning.schedules import constant
from coin_lightning.whole_files import write_json
from made_tasks import made_task


class Doubling(Method):
    """Replays every sample once more, and counts its steps."""

    def __init__(self) -> None:
        super().__init__("doubling")
        self.order: list[str] = []
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def samples(self, context, samples):
        self.order.append("samples")
        return [*samples, *samples]

    def before_experience(self, context):
        self.order.append("before_experience")

    def after_step(self, model):
        self.steps += 1

    def after_experience(self, context):
        self.order.append("after_experience")
        self.memory["tasks"] = [*self.memory.get("tasks", []), context.task]


class World:
    """A scenario of two tasks of eight samples, with everything around it."""

    def __init__(self, tmp_path: Path, root: Path, backbone, method: Method, lr: float = 1e-2, adapter=None) -> None:
        quiet_libraries()
        L.seed_everything(0, verbose=False)
        features = tmp_path / "features"
        tasks = {name: made_task(name, root, "Toy", features, batch_size=4) for name in ("imagenet", "gqa")}
        self.scenario = Scenario("toys", tasks)
        self.scenario.prepare(backbone, seed=0)
        self.scenario.compute_features()
        optimizer = partial(torch.optim.AdamW, lr=lr, weight_decay=0.0)
        adapter = adapter or lora(rank=2, alpha=4)
        self.module = ContinualMLLM(backbone, adapter, method, optimizer, constant)
        self.run = RunDir(tmp_path / "run", ["imagenet", "gqa"])
        self.rows: list[int] = []
        self.loop = ContinualLoop(self.scenario, Suite(), self.run, seed=0, facts={"seed": 0})
        self.loop.on_row = lambda matrix, row: self.rows.append(row)

    def trainer(self, accumulate: int = 1, epochs: int = 1, **options) -> L.Trainer:
        return L.Trainer(
            **options,
            accelerator="cpu", logger=False, callbacks=[self.loop], enable_progress_bar=False, max_epochs=epochs,
            enable_model_summary=False, enable_checkpointing=False, accumulate_grad_batches=accumulate,
            use_distributed_sampler=False, limit_val_batches=0,
        )  # fmt: skip

    def fit(self, accumulate: int = 1, epochs: int = 1):
        experience = self.loop.next_experience(self.module)
        assert experience is not None
        experience.folder.mkdir(parents=True, exist_ok=True)
        trainer = self.trainer(accumulate, epochs)
        trainer.fit(self.module, datamodule=experience.task)
        return experience

    def skip_zero_shot(self) -> None:
        self.score(0)

    def score(self, index: int) -> None:
        names = [task.name for task in self.scenario.tasks]
        content = {"scores": dict.fromkeys(names, 0.0), "counts": dict.fromkeys(names, 5), "seconds": 1.0}
        write_json(self.run.folder(index) / "scores.json", content)


@pytest.fixture
def world(tmp_path: Path, write_task, backbone):
    def make(method: Method | None = None, **options) -> World:
        return World(tmp_path, write_task(train=8, test=5), backbone, method or Method(), **options)

    return make


@pytest.mark.filterwarnings("ignore:Detected call of `lr_scheduler.step:UserWarning")  # the schedule does go on
def test_steps_that_the_scaler_of_float16_drops_are_no_steps_of_methods_and_are_told(world, monkeypatch):
    """The real scaler, which a GPU has; a CPU computes in bfloat16, so a large scale stands for gradients that float16
    does not hold."""
    here = world(Doubling())
    here.skip_zero_shot()
    scaler = MixedPrecision("16-mixed", "cpu", torch.amp.GradScaler("cpu", init_scale=2.0**126))
    monkeypatch.setattr(scaler, "autocast_context_manager", lambda: torch.autocast("cpu", dtype=torch.bfloat16))
    here.trainer = partial(here.trainer, plugins=[scaler])
    stepped: list[object] = []
    hook = register_optimizer_step_post_hook(lambda optimizer, *_: stepped.append(type(optimizer)))
    here.fit()
    hook.remove()
    taken = [kind for kind in stepped if kind is torch.optim.AdamW]  # the plan steps with another one
    planned = 16 // 4
    assert 0 < len(taken) < planned
    assert here.module.method.steps == len(taken)
    trained = read_json(here.run.folder(1) / "train.json")
    assert (trained["steps"], trained["dropped_steps"]) == (planned, planned - len(taken))
    here.score(1)
    for _ in range(2):
        here.run.write_summary(here.run.facts() if (here.run.path / "matrix.json").exists() else {"seed": 0})
        (note,) = here.run.facts()["notes"]
        assert note.startswith(f"imagenet: {planned - len(taken)} of {planned} optimizer steps were dropped")


def test_position_is_what_lies_in_the_folder(world):
    here = world()
    first = here.loop.next_experience(here.module)
    assert (first.position, first.name, first.task, first.trained) == (0, "zero_shot", None, False)
    here.skip_zero_shot()
    second = here.loop.next_experience(here.module)
    assert (second.position, second.name, second.resume_from) == (1, "imagenet", None)
    (second.folder).mkdir(parents=True)
    (second.folder / "last.ckpt").touch()
    assert here.loop.next_experience(here.module).resume_from == second.folder / "last.ckpt"
    here.score(1)
    here.score(2)
    assert here.loop.next_experience(here.module) is None


def test_no_position_before_the_first_question(world):
    with pytest.raises(RunError, match="call next_experience before"):
        _ = world().loop.position


def test_a_method_that_changes_the_rows_gets_its_own_number_of_steps(world):
    method = Doubling()
    here = world(method)
    here.skip_zero_shot()
    experience = here.fit()
    trained = read_json(experience.folder / "train.json")
    assert (trained["steps"], trained["samples"]) == (4, 16)  # 8 samples twice, in batches of 4
    assert method.order == ["before_experience", "samples", "after_experience"]
    assert method.steps == 4
    here.score(1)
    assert here.loop.steps_until(1) == 4
    here.loop.next_experience(here.module)
    assert here.module.first_step == 4


def test_weights_are_on_the_trainers_device_when_methods_see_them(world, monkeypatch):
    """Lightning moves them later, and says that they are there."""

    class Looking(Method):
        def before_experience(self, context):
            self.seen = {weight.device.type for weight in context.module.parameters()}

    method = Looking()
    here = world(method)
    here.skip_zero_shot()
    here.loop.next_experience(here.module)
    trainer = here.trainer()
    monkeypatch.setattr(trainer.strategy, "_root_device", torch.device("meta"))
    here.loop.setup(trainer, here.module, "fit")
    assert method.seen == {"meta"}


def test_accumulation_steps_once_per_group_of_batches(world):
    method = Doubling()
    here = world(method)
    here.skip_zero_shot()
    experience = here.fit(accumulate=3)
    assert read_json(experience.folder / "train.json")["steps"] == 2  # 4 batches: three, and what is left
    assert method.steps == 2


def test_a_method_sees_the_gradients_of_a_step_once_and_as_they_are_applied(world):
    """Summed up over the batches of the step; what it changes is what the optimizer takes."""

    class Halving(Method):
        def __init__(self) -> None:
            super().__init__("halving")
            self.seen: list[dict] = []

        def before_step(self, model):
            self.seen.append({name: weight.grad.clone() for name, weight in model.trainable().items()})
            for weight in model.trainable().values():
                weight.grad.mul_(0.5)

    applied: list[dict] = []

    class Applied(L.Callback):
        def on_train_start(self, trainer, module) -> None:
            def keep(*_) -> None:
                applied.append({name: weight.grad.clone() for name, weight in module.trainable().items()})

            trainer.optimizers[0].register_step_post_hook(keep)

    method = Halving()
    here = world(method)
    here.skip_zero_shot()
    experience = here.loop.next_experience(here.module)
    experience.folder.mkdir(parents=True)
    trainer = here.trainer(accumulate=2)
    trainer.callbacks.append(Applied())
    trainer.fit(here.module, datamodule=experience.task)
    assert len(method.seen) == len(applied) == 1  # two batches, one step
    assert all(torch.equal(applied[0][name], 0.5 * grad) for name, grad in method.seen[0].items())
    assert any(grad.any() for grad in method.seen[0].values())


def test_state_of_the_method_is_saved_and_given_to_a_new_process(world, tmp_path: Path):
    here = world(Doubling())
    here.skip_zero_shot()
    here.fit()
    here.score(1)
    weights = {name: value.detach().clone() for name, value in here.module.trainable().items()}
    fresh = Doubling()
    here.module.method = fresh
    for value in here.module.trainable().values():
        value.data.zero_()
    again = ContinualLoop(here.scenario, Suite(), here.run, seed=0)
    again.next_experience(here.module)
    assert fresh.steps == 4
    assert fresh.memory == {"tasks": ["imagenet"]}
    assert all(torch.equal(value, weights[name]) for name, value in here.module.trainable().items())


def test_going_back_loads_what_an_experience_ended_with(world):
    here = world()
    here.skip_zero_shot()
    weights = []
    for index in (1, 2):
        here.fit()
        here.score(index)
        weights.append({name: value.detach().clone() for name, value in here.module.trainable().items()})
    for value in here.module.trainable().values():
        value.data.zero_()
    again = ContinualLoop(here.scenario, Suite(), here.run, seed=0)
    for index, expected in enumerate(weights, start=1):
        experience = again.revisit(here.module, index)
        assert (experience.position, experience.trained, again.position) == (index, True, index)
        assert all(torch.equal(value, expected[name]) for name, value in here.module.trainable().items())
    with pytest.raises(RunError, match="zero-shot has no weights to go back to"):
        again.revisit(here.module, 0)


def test_weights_that_do_not_move_are_an_error(world):
    here = world(lr=0.0)
    here.skip_zero_shot()
    with pytest.raises(RunError, match=r"imagenet: \d+ of \d+ trainable tensors did not move, .*check optimizer\.lr"):
        here.fit()
    assert not (here.run.folder(1) / "train.json").exists()


def test_missing_steps_are_an_error(world, monkeypatch):
    here = world()
    here.skip_zero_shot()
    monkeypatch.setattr(here.scenario.tasks[0], "steps_per_epoch", lambda ranks: 7)
    with pytest.raises(RunError, match="imagenet: 2 optimizer steps were learned from, 7 were planned"):
        here.fit()


def test_summary_is_caught_up_once(world):
    here = world()
    here.loop.catch_up()
    assert here.rows == []
    here.score(0)
    here.score(1)
    here.loop.catch_up()
    here.loop.catch_up()
    assert here.rows == [1]
    assert read_json(here.run.path / "matrix.json")["seed"] == 0


def test_tensors_that_no_gradient_reaches_are_an_error(world):
    """All must move, not any: an adapter outside of the language model would be counted, saved and never learn."""
    here = world()
    here.skip_zero_shot()
    idle = torch.nn.Parameter(torch.ones(2))
    here.module.register_parameter("idle_lora", idle)
    with pytest.raises(RunError, match=r"imagenet: 1 of .* tensors did not move, e\.g\. idle_lora: no gradient"):
        here.fit()
    assert not (here.run.folder(1) / "train.json").exists()


def test_what_had_nothing_to_learn_from_may_stand_still(world):
    """A router over one expert has gradient zero."""
    here = world(adapter=moelora(rank=2, alpha=4, num_experts=1, dropout=0.0))
    here.skip_zero_shot()
    experience = here.fit()
    assert (experience.folder / "train.json").exists()
    routers = [name for name in here.module.trainable() if "router" in name]
    assert routers
    assert all(torch.equal(here.module.trainable()[name], here.loop._before[name]) for name in routers)


@pytest.mark.parametrize("counter", ["steps", "batches", "samples"])
def test_what_was_really_learned_is_compared_with_the_plan(world, counter):
    """Lightning's step counter can come from a foreign checkpoint; ours counts what happens."""

    class Forgetful(L.Callback):
        def on_train_epoch_end(self, trainer, module) -> None:
            setattr(module.progress, counter, getattr(module.progress, counter) - 1)

    here = world()
    here.skip_zero_shot()
    experience = here.loop.next_experience(here.module)
    experience.folder.mkdir(parents=True)
    trainer = here.trainer()
    trainer.callbacks.append(Forgetful())
    with pytest.raises(RunError, match=r"imagenet: \d .* were learned from, \d were planned"):
        trainer.fit(here.module, datamodule=experience.task)
    assert not (here.run.folder(1) / "train.json").exists()


def test_a_missing_middle_is_refused_with_what_to_remove(world):
    here = world()
    here.skip_zero_shot()
    later = here.run.folder(2)
    later.mkdir(parents=True)
    write_json(later / "train.json", {"steps": 2})
    with pytest.raises(RunError, match=f"task_01_imagenet: .*later tasks are.* remove {later} to learn them again"):
        here.loop.next_experience(here.module)


def test_other_modules_are_refused(world):
    here = world()
    here.skip_zero_shot()
    here.loop.next_experience(here.module)
    with pytest.raises(RunError, match="not on a LightningModule"):
        here.loop.setup(SimpleNamespace(), L.LightningModule(), "fit")
    here.loop.setup(SimpleNamespace(), L.LightningModule(), "predict")  # only training changes the structure


def test_a_rate_that_something_changes_stops_the_training(world):
    class Meddler(L.Callback):
        def on_train_batch_start(self, trainer, *_) -> None:
            trainer.optimizers[0].param_groups[1]["lr"] = 0.5

    here = world()
    here.skip_zero_shot()
    experience = here.loop.next_experience(here.module)
    experience.folder.mkdir(parents=True)
    trainer = here.trainer()
    trainer.callbacks.append(Meddler())
    message = r"imagenet, optimizer step 1: rate of the projector is 0\.5 and not 0\.01 as configured"
    with pytest.raises(RunError, match=message):
        trainer.fit(here.module, datamodule=experience.task)
    assert not (here.run.folder(1) / "train.json").exists()


def test_an_optimizer_without_the_projector_stops_the_training(world, monkeypatch):
    here = world()
    here.skip_zero_shot()
    groups = here.module.optimizer_groups()[:1]
    monkeypatch.setattr(here.module, "configure_optimizers", lambda: torch.optim.AdamW(groups))
    with pytest.raises(RunError, match=r"it lacks 4, e\.g\. .*projector"):
        here.fit()


def test_batches_that_do_not_make_the_global_batch_stop_the_training(world):
    here = world()
    here.skip_zero_shot()
    here.loop.protocol = SimpleNamespace(global_batch_of={"imagenet": 16}.get)
    with pytest.raises(RunError, match=r"4 x 2 x 1 = 8 samples, but protocol\.global_batch=16; .*torchrun"):
        here.fit(accumulate=2)
    here.loop.protocol = SimpleNamespace(global_batch_of={"imagenet": 8}.get)
    assert read_json(here.fit(accumulate=2).folder / "train.json")["steps"] == 1


def test_a_joint_run_goes_from_zero_shot_to_its_end(world):
    here = world()
    here.scenario.train_tasks = {2: here.scenario.tasks[0]}
    here.run.training, here.run.positions = "joint", [0, 2]
    assert here.loop.next_experience(here.module).position == 0
    here.skip_zero_shot()
    here.module.projector = "reinitialised"
    before = {name: value.detach().clone() for name, value in here.module.trainable().items()}
    experience = here.fit()
    assert (experience.position, experience.folder.name) == (2, "task_02_joint")
    assert all(torch.equal(value, before[name]) for name, value in here.loop._before.items())  # the first task
    assert here.loop.steps_until(2) == 2
