"""Sizes of batches that a run may be continued with although they move last digits: what gives way to little memory.

Which samples make an optimizer step depends on the protocol's global batch alone (see `LengthBucketSampler`), so a
smaller batch with more accumulation learns from the same samples; sums round otherwise, and dropout draws otherwise.
Answers of another batch round otherwise, too. Every such change is kept (`changes.json`) and told with the results.
"""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from coin_lightning.metrics.score_matrix import JOINT

FILE = "changes.json"
LAST = "last.ckpt"
"""Where a task stands in its middle, in its folder."""
ANSWERS = re.compile(r"(scenario\.tasks\.\w+\.)?answers\.batch_size")
TASK = re.compile(r"scenario\.tasks\.(\w+)\.batches\.size")
TOGETHER = "scenario.batches.size"
"""Of joint training."""
TAKEN_OVER = "batches.size"
"""Of no effect by itself: tasks take it over."""


class Change(NamedTuple):
    """A config key with another value than a run was started with."""

    key: str
    old: Any
    new: Any

    def __str__(self) -> str:
        return f"  {self.key}: {self.old!r} -> {self.new!r}"


def gives_way(change: Change, config: Mapping[str, Any]) -> bool:
    """Whether a run may go on with this change.

    Args:
        config: the new one, resolved.
    """
    if ANSWERS.fullmatch(change.key) or change.key == TAKEN_OVER:
        return True
    found = TASK.fullmatch(change.key)
    if found is None and change.key != TOGETHER:
        return False
    joint = bool(config.get("scenario", {}).get("joint"))
    if joint is not (change.key == TOGETHER):
        return True  # of batches that are not made
    return _same_steps(config.get("protocol", {}), found.group(1) if found else JOINT)


def trains_otherwise(change: Change) -> bool:
    """Whether a change is of training, which a task must not be in the middle of."""
    return not ANSWERS.fullmatch(change.key)


def _same_steps(protocol: Mapping[str, Any], task: str) -> bool:
    """Whether the steps of a task learn from the same samples, equally weighted, whatever its batches are."""
    wanted = protocol.get("global_batch")
    wanted = wanted.get(task) if isinstance(wanted, Mapping) else wanted
    return wanted is not None and protocol.get("loss_weighting") == "exact"


def notes(changes: Mapping[str, Any]) -> list[str]:
    """Sentences for the report, of the content of `changes.json`; one for keys that changed alike."""
    found = {}
    for change in changes.get("changes", []):
        kind = "answers.batch_size" if ANSWERS.fullmatch(change["key"]) else TAKEN_OVER
        found[kind, change["old"], change["new"], change["at"]] = (
            f"{kind} went from {change['old']} to {change['new']} at {change['at']}: last digits differ from a run "
            "that had it from the start" + (", and so does what dropout draws." if kind == TAKEN_OVER else ".")
        )
    return list(found.values())
