"""Final accuracy with its interval over other test images."""

from collections.abc import Sequence

import numpy as np

from coin_lightning.errors import RunError
from coin_lightning.metrics.image_clusters import image_intervals
from coin_lightning.reporting.overview import MethodGroup
from coin_lightning.reporting.paired_runs import samples
from coin_lightning.reporting.paper_tables import Cell, PaperTable, label, plain
from coin_lightning.reporting.sample_scores import Questions, SampleReader


def interval_table(groups: Sequence[MethodGroup], read: SampleReader) -> PaperTable | None:
    """95 % bootstrap intervals, whole images drawn anew, of each group's mean over its runs; None without finished
    runs. Groups are left out that have an unfinished run, or one without a score of some task at its end.

    Args:
        groups: runs of the same tasks, in whatever order.
        read: of the records.

    Raises:
        RunError: the runs have other test samples or rules; or as `samples`.
    """
    done = [group for group in groups if all(run.is_complete and not np.isnan(run.final).any() for run in group.runs)]
    if not done:
        return None
    tasks, questions = sorted(done[0].runs[0].tasks), dict[str, Questions]()
    values: dict[str, list[np.ndarray]] = {task: [] for task in tasks}
    for group in done:
        found = [samples(run, "acc", read) or {} for run in group.runs]
        for task in tasks:
            for run in found:
                if questions.setdefault(task, run[task][1]) != run[task][1]:
                    raise RunError(f"{task}: the runs have other test samples, or other rules for them")
            values[task].append(np.mean([run[task][0] for run in found], axis=0))
    stacked = {task: np.stack(values[task]) for task in done[0].runs[0].tasks}
    intervals = image_intervals(stacked, {task: asked.images for task, asked in questions.items()})
    first = done[0].runs[0]
    rows = [
        (label(group), [Cell(mean, np.nan, len(group.runs), plain(mean), low, high) for mean, low, high in each])
        for group, each in zip(done, intervals, strict=True)
    ]
    title = "Score at the end with its 95 % interval over other test images"
    return PaperTable(title, ["method", *map(first.title, first.tasks), "Mean"], rows)
