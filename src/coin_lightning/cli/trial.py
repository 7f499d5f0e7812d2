"""A run as a trial of an Optuna study: after each task it reports how it stands, and ends where that is too little."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from coin_lightning.errors import EndedEarlyError
from coin_lightning.reporting.run_matrix import RunMatrix

VARIABLE = "COIN_LIGHTNING_TRIAL"
"""Set by the sweep for each member: JSON with the study's `file`, the name of the `study`, the trial's `number`, and
`after` how many whole trials one may be pruned, or null."""
PRUNED = "pruned"
"""Attribute of a trial that was ended."""


class PrunedError(EndedEarlyError):
    """The trial is worse than others were at the same task; the run goes on when its command is given alone."""


def storage_of(file: Path) -> Any:
    """A study's file: JSON lines, of which several processes may write some."""
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

    return JournalStorage(JournalFileBackend(str(file), lock_obj=JournalFileOpenLock(str(file))))


def report(matrix: RunMatrix, row: int) -> None:
    """Report the rows up to `row` to the study, if this process is a trial of one.

    With an objective that is to be high, the mean score over the tasks so far; with one that is to be low, the mean
    points lost on earlier tasks. The last row is the objective's own, and several objectives cannot be pruned.

    Raises:
        PrunedError: the study says so.
    """
    if VARIABLE not in os.environ or not 0 < row < len(matrix.tasks):
        return
    import optuna

    told = json.loads(os.environ[VARIABLE])
    study = optuna.load_study(study_name=told["study"], storage=storage_of(Path(told["file"])))
    known = study.trials[told["number"]]
    if len(study.directions) > 1 or known.state.is_finished():  # given again while a job of it went on
        return
    trial = optuna.trial.Trial(study, known._trial_id)
    low = study.direction == optuna.study.StudyDirection.MINIMIZE
    value = float("nan")
    for step in range(1 + low, row + 1):
        value = float(np.nanmean(matrix.forgetting(step)[: step - 1])) if low else float(matrix.seen_mean[step])
        if step not in known.intermediate_values and np.isfinite(value):
            trial.report(value, step)
    if told["after"] is not None and _is_behind(study, row, -value if low else value, told["after"]):
        trial.set_user_attr(PRUNED, row)
        raise PrunedError(f"pruned after {matrix.rows[row]}: other trials were better there")


def _is_behind(study: Any, row: int, value: float, after: int) -> bool:
    """Whether a value, high being good, is below the median of `after` or more whole trials behind the same task.

    Optuna's `MedianPruner` compares a trial's best value so far: made for losses that fall. Behind later tasks a mean
    score is lower, and more is lost, whatever the trial, so that it would prune next to nothing.
    """
    import optuna

    whole = study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,))
    sign = -1 if study.direction == optuna.study.StudyDirection.MINIMIZE else 1
    others = [sign * trial.intermediate_values[row] for trial in whole if row in trial.intermediate_values]
    return len(whole) >= after and bool(others) and value < float(np.median(others))
