"""Callbacks that tests put into a run through its config: `+callbacks.probe._target_=probes.Recorder`."""

import hashlib
import json
import os
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import lightning as L
import torch

from coin_lightning.continual.callback import ContinualLoop
from coin_lightning.errors import JudgeError
from coin_lightning.evaluation.judges.base import Judge, JudgeRequest, Reply

_kept: list[Any] = []  # everything whose id() is written down stays alive, so that no id comes twice


def digest(tensors: dict[str, torch.Tensor]) -> dict[str, str]:
    """sha256 of each tensor's bytes, by name."""
    flat = {name: tensor.detach().cpu().contiguous().view(-1).view(torch.uint8) for name, tensor in tensors.items()}
    return {name: hashlib.sha256(tensor.numpy().tobytes()).hexdigest() for name, tensor in flat.items()}


def _loop(trainer: Any) -> ContinualLoop:
    return next(callback for callback in trainer.callbacks if isinstance(callback, ContinualLoop))


class Recorder(L.Callback):
    """Writes `<folder>/<k>.<rank>.json` for each training: objects, rates, weights before and after."""

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)
        self.found: dict[str, Any] = {}

    def on_train_start(self, trainer: Any, pl_module: L.LightningModule) -> None:
        """Who is there, and what the weights are."""
        objects = [trainer, *trainer.callbacks, *trainer.loggers, *trainer.optimizers]
        _kept.extend(objects)
        self.found = {
            "objects": [[type(each).__name__, id(each)] for each in objects],
            "rates": [],
            "batches": [],
            "widths": [],
            "before": digest(dict(pl_module.named_parameters())),
            "trainable": [name for name, parameter in pl_module.named_parameters() if parameter.requires_grad],
        }

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Rates and rows of the step."""
        self.found["rates"].append([group["lr"] for group in trainer.optimizers[0].param_groups])
        self.found["batches"].append(batch["ids"])
        self.found["widths"].append(batch["input_ids"].shape[1])

    def on_train_end(self, trainer: Any, pl_module: L.LightningModule) -> None:
        """What the weights have become."""
        self.found["after"] = digest(dict(pl_module.named_parameters()))
        self.folder.mkdir(parents=True, exist_ok=True)
        file = self.folder / f"{_loop(trainer).position}.{trainer.global_rank}.json"
        file.write_text(json.dumps(self.found))


class FixedJudge(Judge):
    """Grades every answer with 7: `judge._target_=probes.FixedJudge`.

    Args:
        answers: requests that it answers before it fails; null: all.
    """

    kind = "fixed"

    def __init__(self, answers: int | None = None, variant: str = "strict") -> None:
        super().__init__("seven", variant=variant)
        self.answers, self.closed = answers, 0

    def settings(self) -> dict[str, Any]:
        """Nothing that matters."""
        return {"version": "1", "temperature": 0.0, "seed": None, "settings": {}}

    def judge(self, requests: Sequence[JudgeRequest]) -> Iterator[Reply]:
        """Sevens."""
        for index, _ in enumerate(requests):
            if self.answers is not None:
                self.answers -= 1
                if self.answers < 0:
                    raise JudgeError("the server does not answer")
            yield Reply(index, "7")

    def close(self) -> None:
        """Count."""
        self.closed += 1


class KillAt(L.Callback):
    """SIGKILL at one moment of one experience.

    Args:
        position: the experience.
        moment: `train`, behind optimizer step `step`; `predict`, at answer batch number `step`; `between`, when the
            weights are saved and no question is answered yet.
    """

    def __init__(self, position: int, moment: str, step: int = 0) -> None:
        self.position, self.moment, self.step = position, moment, step
        self.batches = 0

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Moment `train`."""
        self._kill(trainer, "train", trainer.global_step)

    def on_predict_start(self, trainer: Any, pl_module: Any) -> None:
        """Moment `between`."""
        self._kill(trainer, "between", 0)

    def on_predict_batch_end(self, trainer: Any, *_: Any, **__: Any) -> None:
        """Moment `predict`."""
        self.batches += 1
        self._kill(trainer, "predict", self.batches)

    def _kill(self, trainer: Any, moment: str, step: int) -> None:
        if (moment, step, _loop(trainer).position) == (self.moment, self.step, self.position):
            os.kill(os.getpid(), signal.SIGKILL)
