"""Config keys that do not change what is learned and answered, and what follows from it, for all who ask."""

from fnmatch import fnmatchcase
from functools import lru_cache

from coin_lightning.evaluation.run_scoring import FIELDS

PLACES = ("data.root", "data.features", "scenario.builder", "batches.num_workers")
DEVICES = ("trainer.devices", "trainer.num_nodes", "trainer.strategy")
"""Keys that say how many devices learn, and how they share the model: `continual.devices` has the check of its own."""
DATA = (
    "data.root", "source.root", "source.path", "*data.source.root", "*data.source.path", "scenario.tasks.*.data.root",
)  # fmt: skip
"""Keys that say where the data lie: free, but another place may hold others."""
FREE_KEYS = (
    *PLACES, *DEVICES, *DATA, "paths", "run_dir", "bounds", "logger", "callbacks", "hydra", "sweep", "judge",
    "published", "share_answers",
    "scenario.tasks.*.data.features", "scenario.tasks.*.batches.num_workers", "scenario.batches.num_workers",
    "backbone.gradient_checkpointing",
    "method.title", "plugin.*.title", *(f"scenario.tasks.*.{field}" for field in FIELDS),
)  # fmt: skip
"""Keys, or patterns of them, that do not change what is learned and answered: a run may be continued with others, and
its folder is not named after them. The data and the samples used have their own check, and so have the devices and the
version of a task's scorers; judgements are artefacts of their own, each with the judge's identity."""
MACHINE = ("num_threads", "trainer.accelerator", "trainer.devices")
"""Keys that say what computes. They change the last digits: a run is not continued with others, but what it left out
may be evaluated."""
UNNAMED = (
    "experiment", "experiment_name", "seed", "num_threads", "trainer", "backbone.path", "backbone.pretrained.*",
)  # fmt: skip
"""Keys that a run's folder is not named after although they change its results: they have folders of their own, or are
long and seldom the only difference. A folder that was made with others is refused, not overwritten."""


@lru_cache(10_000)  # a table of many runs asks the same of each
def is_free(key: str) -> bool:
    """Whether a key, or a group of keys that it is in, changes no result."""
    parts = key.split(".")
    return any(_matches(".".join(parts[:size]), FREE_KEYS) for size in range(1, len(parts) + 1))


def names_data(key: str) -> bool:
    """Whether a key says where the data lie."""
    return _matches(key, DATA)


def is_named(key: str) -> bool:
    """Whether the folder of a run is named after an override of this key."""
    return not is_free(key) and not _matches(key, UNNAMED)


def _matches(key: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(key, pattern) for pattern in patterns)
