"""Tasks and their options from flat keywords, as tests write them."""

from dataclasses import fields
from pathlib import Path
from typing import Any

from coin_lightning.tasks.base import InstructionTask
from coin_lightning.tasks.options import AnswerOptions, BatchOptions, DataOptions

BATCHES = {"batch_size": "size", "epochs": "epochs", "num_workers": "num_workers"}
ANSWERS = {"answer_batch_size": "batch_size"} | {
    name: name for name in ("max_new_tokens", "evaluation_frame", "reference_crop")
}


def made_task(name: str, root: str | Path, directory: str, features: str | Path, **options: Any) -> InstructionTask:
    """A task whose options go where they belong; what is none of data, batches or answers is the task's own."""
    data = {field.name for field in fields(DataOptions)}
    parts: dict[str, dict[str, Any]] = {"data": {"root": root, "features": features}, "batches": {}, "answers": {}}
    own = {}
    for key, value in options.items():
        if key in BATCHES:
            parts["batches"][BATCHES[key]] = value
        elif key in ANSWERS:
            parts["answers"][ANSWERS[key]] = value
        elif key in data:
            parts["data"][key] = value
        else:
            own[key] = value
    batches, answers = BatchOptions(**parts["batches"]), AnswerOptions(**parts["answers"])
    return InstructionTask(name, directory, DataOptions(**parts["data"]), batches, answers, **own)
