"""A device or a machine without room for a batch, and loader processes that die: errors that say what to lower or to
look at, and that what was done is kept.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from coin_lightning.backbones.recomputation import decoder_layers
from coin_lightning.continual.giving_way import LAST
from coin_lightning.continual.scenario import Experience
from coin_lightning.errors import RunError, first_line, is_out_of_memory
from coin_lightning.module import ContinualMLLM
from coin_lightning.tasks.base import InstructionTask
from coin_lightning.tasks.loader_processes import dead_process


def training(experience: Experience, module: ContinualMLLM) -> AbstractContextManager[None]:
    """Tell of memory that ran out while a task was learned, with a RunError that names task, phase and remedies."""
    task = experience.task
    assert task is not None
    return _telling(experience, "training", lambda: _for_training(experience, task, module))


def answering(
    experience: Experience, module: ContinualMLLM, tasks: list[InstructionTask]
) -> AbstractContextManager[None]:
    """The same while questions were answered."""
    return _telling(experience, "answering", lambda: _for_answering(experience, module, tasks))


@contextmanager
def _telling(experience: Experience, phase: str, remedies: Callable[[], list[str]]) -> Iterator[None]:
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if (dead := dead_process(error)) is not None:
            raise RunError(f"{experience.name}: while {phase}, {dead}") from error
        if not is_out_of_memory(error):
            raise
        raise _told(experience, phase, error, remedies()) from error


def _told(experience: Experience, phase: str, error: BaseException, remedies: list[str]) -> RunError:
    return RunError(
        f"{experience.name}: memory ran out while {phase} ({first_line(error)}). All that was done is kept. Give the "
        "same command again with one of:\n" + "\n".join(f"  {remedy}" for remedy in remedies)
        + "\n`python -m coin_lightning estimate` with the same overrides says what would fit."
    )  # fmt: skip


def _for_training(experience: Experience, task: InstructionTask, module: ContinualMLLM) -> list[str]:
    found, run = [], experience.folder.parent
    layers = decoder_layers(module.backbone.language_model)
    if not all(getattr(layer, "gradient_checkpointing", False) for layer in layers):
        found.append("backbone.gradient_checkpointing=all: slower, changes no result; the run goes on")
    if task.batch_size > 1:
        begin = experience.folder / LAST
        again = f"; first remove {begin}, for the task then starts anew" if begin.exists() else ""
        found.append(
            f"batches.size={task.batch_size // 2} run_dir={run} (is {task.batch_size}; where the task has its own, "
            f"scenario.tasks.{task.name}.batches.size): goes on where protocol.global_batch keeps the samples of a "
            f"step and protocol.loss_weighting=exact; changes last digits and what dropout draws{again}"
        )
    return [*found, *_other_runs(module)]


def _for_answering(experience: Experience, module: ContinualMLLM, tasks: list[InstructionTask]) -> list[str]:
    most = max(task.answers.batch_size for task in tasks)
    smaller = [
        f"answers.batch_size={most // 2} (is {most}; where it trains also run_dir={experience.folder.parent}): goes on "
        "behind the answers that are kept; changes last digits, so that single answers may differ"
    ]
    return [*(smaller if most > 1 else []), *_other_runs(module)]


def _other_runs(module: ContinualMLLM) -> list[str]:
    """What changes the results, and so needs a folder of its own."""
    return [
        f"backbone.max_length below {module.backbone.max_length} with protocol.long_samples=truncate, or "
        "backbone.quantization=nf4 where the backbone has it: other results, so another run (experiment_name=...)"
    ]
