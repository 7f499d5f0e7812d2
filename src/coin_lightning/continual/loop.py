"""The driver: asks the callback what comes next, and calls `fit`."""

from collections.abc import Callable

import lightning as L

from coin_lightning.continual.callback import ContinualLoop
from coin_lightning.continual.checkpoint import position_in
from coin_lightning.continual.out_of_memory import training
from coin_lightning.continual.scenario import Experience
from coin_lightning.module import ContinualMLLM

MakeTrainer = Callable[[Experience], L.Trainer]


def run_sequence(loop: ContinualLoop, module: ContinualMLLM, make_trainer: MakeTrainer) -> None:
    """Train and evaluate experience after experience until all are done.

    `make_trainer` builds a new trainer with new callbacks and loggers each time: what a trainer remembers of one task
    (finished epochs, best scores, stale checkpoints) silently spoils the next.
    """
    loop.catch_up()
    while (experience := loop.next_experience(module)) is not None:
        trainer = make_trainer(experience)
        if experience.task is not None and not experience.trained:
            _place(experience)
            resume = None if experience.resume_from is None else str(experience.resume_from)
            with training(experience, module), loop.interruption.at_next_step():
                trainer.fit(module, datamodule=experience.task, ckpt_path=resume, weights_only=True)
        loop.evaluate(trainer, module, experience)
    loop.finish()


def _place(experience: Experience) -> None:
    """Tell the data module how far a killed fit had got, so that no batch is repeated or left out."""
    if experience.resume_from is None or experience.task is None:
        return
    epoch, batch = position_in(experience.resume_from)
    experience.task.resume_at(epoch, batch)
