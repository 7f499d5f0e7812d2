"""`scores.json` and `router.json` of an experience: written once, or filled up when further tasks are evaluated."""

from collections.abc import Mapping, Sequence
from typing import Any

from coin_lightning.continual.scenario import Experience
from coin_lightning.evaluation.side_by_side import CellScores, score_fields
from coin_lightning.manifest import MARK, write_known_json
from coin_lightning.run_files import read_json

ADDED = ("seconds", "answers")
"""Fields of which the parts of an evaluation are added up."""


def keep_scores(
    experience: Experience,
    results: Mapping[str, CellScores],
    variant: str,
    seconds: float,
    router: Mapping[str, Any],
    order: Sequence[str],
) -> None:
    """Write the files of an evaluation; what they already say of other tasks stays.

    Args:
        experience: whose folder it is.
        results: scores of the tasks evaluated now.
        variant: the one that fills the score matrix.
        seconds: that the evaluation took.
        router: `evaluation.router_load.mean_load` of the same tasks; may be empty.
        order: all tasks of the scenario.
    """
    if router:
        _fill(experience, "router.json", router, order)
    fields = score_fields(results, variant)
    scores = {
        "experience": experience.position,
        "task": experience.name,
        "scorer": variant,
        "unit": "percent",
        **fields,
        "seconds": seconds,
        "answers": sum(fields["counts"].values()),
        **MARK,
    }
    _fill(experience, "scores.json", scores, order)


def _fill(experience: Experience, name: str, content: Mapping[str, Any], order: Sequence[str]) -> None:
    file = experience.folder / name
    write_known_json(file, filled(read_json(file), content, order) if file.exists() else content)


def filled(old: Mapping[str, Any], new: Mapping[str, Any], order: Sequence[str]) -> dict[str, Any]:
    """The old content with the tasks of the new one; of a task that both have, the new one counts.

    Objects are joined key by key, with tasks in the given order; numbers of `ADDED` are added up.
    """
    joined = {key: _joined(key, old.get(key), new.get(key), order) for key in {**old, **new}}
    places = {task: at for at, task in enumerate(order)}
    if not set(joined) <= set(places):
        return joined
    return {task: joined[task] for task in sorted(joined, key=places.__getitem__)}


def _joined(key: str, old: Any, new: Any, order: Sequence[str]) -> Any:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        return dict(new) if {"score", "count"} <= set(new) else filled(old, new, order)
    if key in ADDED and old is not None and new is not None:
        return old + new
    return old if new is None else new
