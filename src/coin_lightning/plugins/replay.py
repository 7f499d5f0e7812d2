"""Experience replay: some samples of earlier tasks are learned again among those of the present one.

Ratcliff 1990; Chaudhry et al., "On Tiny Episodic Memories in Continual Learning" (arXiv 1902.10486). The buffer holds
places and ids, never the samples themselves.
"""

import random
from collections.abc import Sequence
from typing import Annotated, Any

from peft import PeftConfig
from pydantic import Field, PositiveInt

from coin_lightning.errors import ConfigError, RunError
from coin_lightning.methods.base import Context, Method

Share = Annotated[float, Field(gt=0, lt=1)]


class Replay(Method):
    """Mixes the buffer into every later task.

    Args:
        per_task: samples kept of each task (MLLM-CL and MCITlib keep 20).
        size: samples kept of all tasks together, the same number of each; instead of `per_task`.
        share: of all samples of a task that are replayed ones, repeated as often as that takes; null: each once.
        name: shown in reports.

    Raises:
        ConfigError: not exactly one of `per_task` and `size`.
    """

    def __init__(
        self,
        per_task: PositiveInt | None = None,
        size: PositiveInt | None = None,
        share: Share | None = None,
        name: str = "replay",
    ) -> None:
        super().__init__(name)
        if (per_task is None) == (size is None):
            raise ConfigError(f"plugin.replay: per_task={per_task} and size={size}; set one of them, the other to null")
        self.per_task, self.size, self.share = per_task, size, share

    def adapter(self, config: PeftConfig, tasks: Sequence[str]) -> PeftConfig:
        """As it is.

        Raises:
            ConfigError: the buffer is smaller than the number of tasks, so that nothing would be kept of any.
        """
        if self.size is not None and self.size < len(tasks):
            raise ConfigError(
                f"plugin.replay.size={self.size} is less than the {len(tasks)} tasks: nothing would be left for each; "
                "raise it, or use per_task"
            )
        return config

    def samples(self, context: Context, samples: Any) -> Any:
        """The samples with those of the buffer behind them; every step is drawn at random from all."""
        kept = self.memory.get("kept", {})
        if not kept:
            return samples
        quota = self._quota(len(kept))
        parts = [_found(context.samples(task), task, places[:quota]) for task, places in kept.items()]
        buffer = context.joined(parts)
        rng = random.Random(f"{context.seed}/{context.position}/replay")
        wanted = len(buffer) if self.share is None else round(len(samples) * self.share / (1 - self.share))
        return context.joined([samples, buffer.select(_drawn(list(map(len, parts)), wanted, rng))])

    def after_experience(self, context: Context) -> None:
        """Choose what is kept of the task; as the buffer is shared by more tasks, the last ones chosen go first."""
        ids = context.samples().ids
        order = random.Random(f"{context.seed}/{context.task}/replay").sample(range(len(ids)), len(ids))
        kept = self.memory.setdefault("kept", {})
        kept[context.task] = [[at, ids[at]] for at in order[: self._quota(len(kept) + 1)]]
        quota = self._quota(len(kept))
        self.memory["kept"] = {task: places[:quota] for task, places in kept.items()}

    def _quota(self, tasks: int) -> int:
        return self.per_task if self.per_task is not None else (self.size or 0) // tasks


def _found(samples: Any, task: str, places: Sequence[tuple[int, str]]) -> Any:
    """The kept samples of a task.

    Raises:
        RunError: the data are not those that they were chosen from.
    """
    ids = samples.ids
    wrong = [id_ for at, id_ in places if at >= len(ids) or ids[at] != id_]
    if wrong:
        raise RunError(f"plugin.replay: {task} has no sample {wrong[0]!r} at its place any more; restore its data")
    return samples.select([at for at, _ in places])


def _drawn(sizes: Sequence[int], wanted: int, rng: random.Random) -> list[int]:
    """Places in the joined buffer, in turns from each task, so that none is drawn twice more often than another."""
    starts = [sum(sizes[:at]) for at in range(len(sizes))]
    turns = max(sizes, default=0)
    orders = [rng.sample(range(size), size) for size in sizes]
    once = [start + order[turn] for turn in range(turns) for start, order in zip(starts, orders, strict=True)
            if turn < len(order)]  # fmt: skip
    if not once:
        return []
    return [once[at % len(once)] for at in range(wanted)]
