"""Which task and which stage a folder of CoIN's results means: the published code and its forks have several spellings.

Seen in the history of CoIN's repository and in forks of its scripts: `Finetune` (right after the task's own training),
the name of a later task, `Zero_shot` and `Zero_Shot`, `Multitask`, and `HiDe-task3` (after the third task).
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

Nodes = Mapping[str, Mapping[str, Any]]
"""What the yaml of tasks says, by name (`config_folder.task_nodes`)."""
Stage = str | int
"""`OWN`, `ZERO_SHOT`, `JOINT`, the task that was learned last, or how many tasks were learned."""
OWN, ZERO_SHOT, JOINT = "(own)", "(zero-shot)", "(joint)"
STAGES = {
    OWN: ("finetune", "finetuned"),
    ZERO_SHOT: ("zeroshot",),
    JOINT: ("multitask", "joint"),
}
OTHER_NAMES = {
    "scienceqa": ("sqa", "science"), "textvqa": ("textqa",), "imagenet": ("imagetnet",),
    "grounding": ("refcoco", "rec"), "vqav2": ("vqa2", "vqa"), "ocrvqa": ("ocr",),
}  # fmt: skip
"""Beside the name, folder and title that a task's yaml gives it."""
_NUMBERED = re.compile(r"\d+[ _.-]+")
_AFTER_NUMBER = re.compile(r"(?:.*[^a-z])?task[ _-]?(\d+)", re.IGNORECASE)


def task_of(name: str, nodes: Nodes) -> str | None:
    """Key of the task that a folder name means (`ImageNet`, `3_ImageNet`, `OCR-VQA`); None: no known task."""
    wanted = bare(_NUMBERED.sub("", name, count=1))
    for key, node in nodes.items():
        own = (key, node.get("directory"), node.get("title"), *OTHER_NAMES.get(key, ()))
        if wanted and wanted in {bare(str(each)) for each in own if each}:
            return key
    return None


def stage_of(name: str, task: str, nodes: Nodes) -> Stage | None:
    """Stage that a folder name below a task's folder means; None: no known one. The task's own name is `OWN`."""
    known = next((stage for stage, spellings in STAGES.items() if bare(name) in spellings), None)
    if known is not None:
        return known
    if found := _AFTER_NUMBER.fullmatch(name):
        return int(found[1])
    after = task_of(name, nodes)
    return OWN if after == task else after


def position_of(task: str, stage: Stage, order: Sequence[str]) -> int | None:
    """Row of the score matrix: 0 is zero-shot, k is after the k-th task. None: the order has no such row."""
    if stage == ZERO_SHOT:
        return 0
    if isinstance(stage, int):
        return stage if 0 <= stage <= len(order) else None
    after = {OWN: task}.get(stage, stage)
    return len(order) if stage == JOINT else order.index(after) + 1 if after in order else None


def bare(name: str) -> str:
    """Letters and digits in lower case."""
    return re.sub(r"[^a-z0-9]", "", name.lower())
