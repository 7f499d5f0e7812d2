"""The driver: what it asks for, what it seeds, and what it passes to `fit`."""

from pathlib import Path
from types import SimpleNamespace

import torch

from coin_lightning.continual.loop import position_in, run_sequence
from coin_lightning.continual.scenario import Experience


class Task:
    name = "a"

    def __init__(self) -> None:
        self.resumed: list[tuple[int, int]] = []

    def resume_at(self, epoch: int, batch: int) -> None:
        self.resumed.append((epoch, batch))


class Loop:
    """Hands out the given experiences and writes down what happens."""

    seed = 5

    def __init__(self, experiences: list[Experience]) -> None:
        self.experiences, self.events = iter(experiences), []

    def catch_up(self) -> None:
        self.events.append("catch_up")

    def next_experience(self, module) -> Experience | None:
        return next(self.experiences, None)

    def evaluate(self, trainer, module, experience: Experience) -> None:
        self.events.append(("evaluate", experience.index, trainer))

    def finish(self) -> None:
        self.events.append("finish")


def drive(experiences: list[Experience]):
    loop, fits, trainers = Loop(experiences), [], []

    def make_trainer(experience: Experience):
        def fit(module, **options) -> None:
            fits.append((experience.index, options))

        trainers.append(SimpleNamespace(fit=fit, draw=torch.rand(1).item()))
        return trainers[-1]

    run_sequence(loop, "module", make_trainer)
    return loop, fits, trainers


def checkpoint(folder: Path, epoch: int, batch: int) -> Path:
    progress = {
        "epoch_progress": {"current": {"processed": epoch}},
        "epoch_loop.batch_progress": {"current": {"processed": batch}},
    }
    torch.save({"loops": {"fit_loop": progress}}, folder / "last.ckpt")
    return folder / "last.ckpt"


def test_zero_shot_and_trained_experiences_are_only_evaluated(tmp_path: Path):
    loop, fits, trainers = drive([Experience(0, None, tmp_path), Experience(1, Task(), tmp_path, trained=True)])
    assert fits == []
    assert loop.events == ["catch_up", ("evaluate", 0, trainers[0]), ("evaluate", 1, trainers[1]), "finish"]


def test_each_experience_has_its_own_trainer_and_seed(tmp_path: Path):
    tasks = [Task(), Task()]
    _, fits, trainers = drive([Experience(index, task, tmp_path) for index, task in enumerate(tasks, 1)])
    assert trainers[0] is not trainers[1]
    assert [(index, options["datamodule"]) for index, options in fits] == [(1, tasks[0]), (2, tasks[1])]
    assert all(options["ckpt_path"] is None and options["weights_only"] for _, options in fits)
    draws = []
    for index in (1, 2):
        torch.manual_seed(5 + index)
        draws.append(torch.rand(1).item())
    assert [trainer.draw for trainer in trainers] == draws


def test_a_killed_fit_goes_on_at_its_batch(tmp_path: Path):
    task, file = Task(), checkpoint(tmp_path, 1, 3)
    assert position_in(file) == (1, 3)
    _, fits, _ = drive([Experience(2, task, tmp_path, resume_from=file)])
    assert task.resumed == [(1, 3)]
    assert fits[0][1]["ckpt_path"] == str(file)
