"""`scores.json` and `router.json` of an experience: written once, or filled up when further tasks are evaluated."""

from collections.abc import Mapping, Sequence
from typing import Any

from coin_lightning.continual.scenario import Experience
from coin_lightning.evaluation.side_by_side import CellScores, filled, score_fields
from coin_lightning.manifest import MARK, write_known_json
from coin_lightning.run_files import read_json


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
