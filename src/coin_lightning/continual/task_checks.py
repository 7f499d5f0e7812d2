"""After a task: was learned what was planned? Counted where it happens, not where Lightning keeps its books.

Counters that come from a checkpoint say what the checkpoint says. A task that was continued from the wrong one would
reach its number of steps having seen nothing.
"""

from collections.abc import Collection, Mapping

import torch
from torch import Tensor

from coin_lightning import processes
from coin_lightning.errors import RunError
from coin_lightning.module import PROJECTOR, ContinualMLLM
from coin_lightning.sharding import whole
from coin_lightning.tasks.base import InstructionTask


def check_learned(task: InstructionTask, module: ContinualMLLM, ranks: int) -> None:
    """The steps, batches and samples of this process are those of the plan.

    Raises:
        RunError: they are not.
    """
    batches = task.steps_per_epoch(ranks) * task.epochs
    samples = task.samples_per_epoch(processes.rank(), ranks) * task.epochs
    seen = module.progress
    pairs = {
        "optimizer steps": (seen.steps, module.total_steps),
        "batches": (seen.batches, batches),
        "samples": (seen.samples, samples),
    }
    differing = {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}
    wrong = [f"{real} {name} were learned from, {wanted} were planned" for name, (real, wanted) in differing.items()]
    if wrong:
        raise RunError(
            f"{task.name}: {'; '.join(wrong)}. Something cut the training short or changed its batches (an option of "
            "trainer, a callback, a foreign checkpoint); nothing of this task is kept"
        )


def moved(module: ContinualMLLM, before: Mapping[str, Tensor]) -> set[str]:
    """Names of trainable tensors that are not what they were before."""
    pairs = {name: (whole(weight), whole(before[name])) for name, weight in module.trainable().items()}
    return {name for name, (now, then) in pairs.items() if not torch.equal(now, then)}


def check_moved(task: str, module: ContinualMLLM, moved: Collection[str], still: Collection[str]) -> None:
    """Every trainable tensor has moved, unless it never had anything to learn from.

    That is so of a router over one expert, of an A whose B was zero until the only step, and of a projector without
    images: their gradients are there and zero, or no sample has an image.

    Args:
        task: for the message.
        module: after the task.
        moved: names of tensors that the task has moved, before a kill or since.
        still: names of those that never had a gradient other than zero.

    Raises:
        RunError: names tensors that did not move.
    """
    same = [name for name in module.trainable() if name not in moved]
    unreached = [name for name in same if name in still and _is_cut_off(module, name)]
    unmoved = [name for name in same if name not in still]
    wrong = unreached + unmoved
    if not wrong and moved:
        return
    found = wrong or same
    reason = "their rate is too small; check optimizer.lr" if unmoved else "no gradient comes; check adapter.targets"
    total = len(module.trainable())
    raise RunError(f"{task}: {len(found)} of {total} trainable tensors did not move, e.g. {found[0]}: {reason}")


def _is_cut_off(module: ContinualMLLM, name: str) -> bool:
    """Whether a tensor has no gradient at all although the samples could have given it one."""
    return module.trainable()[name].grad is None and not (PROJECTOR in name and module.progress.images == 0)
