"""What a task's yaml says of scoring: its scorers by variant, their version, and the parts of its data set.

The yaml owns them: `scorers: {corrected: {_target_: ...}, reference: {_target_: ...}}`, any number of variants. Of
CoIN's eight tasks `corrected` (default) is the data set's official rule (`corrected_rules`), and `reference` does what
CoIN's released scripts do, so that published numbers can be compared (`reference_rules`).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

from coin_lightning.config_folder import conf_dir, task_nodes
from coin_lightning.errors import CoinLightningError, ConfigError, did_you_mean
from coin_lightning.evaluation.scorer import DEFAULT, Reference, RuleScorer, Scorer

Parts = Callable[[Reference], list[str]]
"""From a reference to the names of the parts of the data set that the sample belongs to."""


@dataclass(frozen=True)
class Scoring:
    """How one task is scored.

    Attributes:
        task: its name.
        scorers: by variant, in the order of the yaml.
        version: of the scorers, all variants together; a change that changes scores raises it.
        parts: divides the data set; None where it is not divided.
    """

    task: str
    scorers: Mapping[str, Scorer]
    version: int = 1
    parts: Parts | None = None

    @classmethod
    def of(cls, task: str, node: Mapping[str, Any], folders: Sequence[Path] = ()) -> "Scoring":
        """From what a task's yaml says; of a task that says nothing of scorers, from its yaml in a config folder.

        Args:
            task: its name.
            node: `scorers`, `version` and `parts`; entries may be built already. Configs of runs from before a task's
                yaml had scorers lack them.
            folders: config folders that are looked through before the package's own.

        Returns:
            Without any scorers where no yaml has one.

        Raises:
            ConfigError: one cannot be built.
        """
        if not node.get("scorers"):
            node = _in_folders(task, folders)
        scorers = {str(name): _scorer(task, str(name), each) for name, each in node["scorers"].items()}
        parts = None if node.get("parts") is None else built(f"{task}.parts", node["parts"])
        return cls(task, scorers, int(node.get("version", 1)), parts)

    def scorer(self, variant: str) -> Scorer:
        """The scorer of a variant.

        Raises:
            ConfigError: the task has none of this name, or none at all; the message has those that there are.
        """
        if not self.scorers:
            known = [*task_nodes(conf_dir())]
            hint = did_you_mean(self.task, known)
            raise ConfigError(
                f"no scorer for task {self.task!r}{hint and '; ' + hint} (known: {', '.join(known)}); "
                f"a task's yaml names its own: scorers: {{{DEFAULT}: {{_target_: ...}}}}"
            )
        if variant not in self.scorers:
            hint = did_you_mean(variant, self.scorers)
            raise ConfigError(
                f"scorers={variant}: {self.task} has no scorer variant {variant!r}"
                f"{hint and '; ' + hint} (known: {', '.join(self.scorers)})"
            )
        return self.scorers[variant]


def get_scorer(task: str, variant: str = DEFAULT, folders: Sequence[Path] = ()) -> Any:
    """A scorer of a task, as its yaml names it.

    Args:
        task: name of a task of the package's config folder, e.g. vizwiz, or of `folders`.
        variant: one of the yaml's `scorers`.
        folders: config folders of your own, looked through first.

    Returns:
        For a rule, `scorer(record) -> float in [0, 1]`; always `scorer.score(records) -> TaskScore`.

    Raises:
        ConfigError: an unknown task or variant.
    """
    return Scoring.of(task, {}, folders).scorer(variant)


def _in_folders(task: str, folders: Sequence[Path]) -> Mapping[str, Any]:
    nodes = [task_nodes(folder).get(task, {}) for folder in (*folders, conf_dir())]
    return next((node for node in nodes if node.get("scorers")), {"scorers": {}})


def _scorer(task: str, variant: str, entry: Any) -> Scorer:
    """A rule becomes a `RuleScorer`; what can score records is taken as it is."""
    made = built(f"{task}.scorers.{variant}", entry)
    if hasattr(made, "score"):
        return made
    if callable(made):
        return RuleScorer(task, variant, made)
    raise ConfigError(
        f"task.{task}.scorers.{variant}: {made!r} is no scorer; name a function (prediction, reference) -> share of "
        "one with _partial_: true, or a class with score(records) -> TaskScore"
    )


def built(key: str, entry: Any) -> Any:
    """What a `_target_` of a task's yaml stands for, as Hydra would build it; anything else as it is.

    Raises:
        ConfigError: it cannot be imported, or not be made of what stands beside it.
    """
    if not (isinstance(entry, Mapping) and "_target_" in entry):
        return entry
    options = {name: built(f"{key}.{name}", each) for name, each in entry.items() if not str(name).startswith("_")}
    try:
        target = resolve_name(str(entry["_target_"]))
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(
            f"task.{key}._target_: {entry['_target_']} cannot be imported ({error}); code of your own is found through "
            "PYTHONPATH"
        ) from error
    try:
        return partial(target, **options) if entry.get("_partial_") else target(**options)
    except CoinLightningError:
        raise
    except Exception as error:  # whatever a class makes of options that are not its own
        raise ConfigError(f"task.{key}: {entry['_target_']} cannot be made of {options} ({error!r})") from error
