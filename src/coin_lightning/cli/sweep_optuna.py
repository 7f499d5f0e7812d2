"""Optuna chooses the members of a sweep: by `sweep.objective`, with a study in a file that survives a restart.

The same command goes on: trials that a kill has ended are given again first, with the values that they had, and find
their run folders half done. A trial whose run is finished already costs nothing.
"""

import json
import sys
from collections.abc import Sequence
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from hydra.core.override_parser.types import ChoiceSweep, IntervalSweep, Override, Quote, QuotedString, RangeSweep
from omegaconf import DictConfig, OmegaConf

from coin_lightning.cli.member_configs import Words
from coin_lightning.cli.objective import objectives, values_of
from coin_lightning.cli.run_names import key_of
from coin_lightning.cli.sweep import Launch, Sweep, refuse_ranks
from coin_lightning.cli.trial import PRUNED, VARIABLE, storage_of
from coin_lightning.continual.free_keys import is_free
from coin_lightning.errors import ConfigError, RunError
from coin_lightning.reporting.flat_config import flat
from coin_lightning.reporting.glossary import explain

INTERRUPTED = "interrupted"
"""Attribute of a trial that a kill has ended; it was given again and does not count."""
FAILED = "failed"
"""Attribute of a trial whose run has failed, with the reason: a later start gives it again, and counts it no more."""
FILE = "optuna.jsonl"
"""The study, in the folder of the sweep."""


class OptunaSweep:
    """A study and its members.

    Args:
        config: of the sweep, with Hydra's part.
        launch: of the launcher.
        overrides: of the command line; those with several values are searched.
    """

    def __init__(self, config: DictConfig, launch: Launch, overrides: Sequence[Override]) -> None:
        import optuna

        refuse_ranks()
        self.keys = objectives(config)
        if not self.keys:
            raise ConfigError(
                "hydra/sweeper=optuna_search needs sweep.objective=acc, or sweep.objective=[acc,forgetting]"
            )
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._options, self._file = config.hydra.sweeper, (Path(config.hydra.sweep.dir) / FILE).absolute()
        self._file.parent.mkdir(parents=True, exist_ok=True)
        self.fixed = [f"{each.get_key_element()}={each.get_value_element_as_str()}" for each in overrides
                      if not each.is_sweep_override()]  # fmt: skip
        self.space = {each.get_key_element(): distribution(each) for each in overrides if each.is_sweep_override()}
        self._numbers: dict[Words, int] = {}
        self._given_again: set[int] = set()
        self.study = self._study(config)
        self.sweep = Sweep(config, self._launching(launch), list(self.space))

    def _launching(self, launch: Launch) -> Launch:
        return lambda batch, first: launch([[*words, self._told(words)] for words in batch], first)

    def _study(self, config: DictConfig) -> Any:
        """Of these keys, their values, and all that is fixed beside them; a study of others has another name."""
        import optuna

        searched = repr((self._fixed(config), sorted((key, repr(values)) for key, values in self.space.items())))
        name = f"{', '.join(self.keys)} over {', '.join(self.space)} ({sha256(searched.encode()).hexdigest()[:8]})"
        storage = storage_of(self._file)
        known = {study.study_name: study.n_trials for study in optuna.get_all_study_summaries(storage)}
        seed = self._options.seed + known.get(name, 0)  # a restart would draw the same values again
        return optuna.create_study(
            study_name=name, storage=storage, load_if_exists=True,
            sampler=optuna.samplers.TPESampler(seed=seed),
            directions=["maximize" if explain(key).better == "higher" else "minimize" for key in self.keys],
        )  # fmt: skip

    def _fixed(self, config: DictConfig) -> list[str]:
        """All that is fixed and changes results: words, by which folders are named, and what configs make of them."""
        words = [word for word in self.fixed if not is_free(key_of(word))]
        searched = tuple(f"{key_of(key).partition('@')[0].replace('/', '.')}." for key in self.space)
        values = [(key, value) for key, value in flat(OmegaConf.to_container(config)) if not is_free(key)]
        kept = [f"{key}={value!r}" for key, value in values if not f"{key}.".startswith(searched)]
        return [*sorted(words), *sorted(kept)]

    def _told(self, words: Sequence[str]) -> str:
        """The override by which a member knows that it is a trial; of Hydra's, so that it is in no run's name."""
        told: dict[str, Any] = {
            "file": str(self._file),
            "study": self.study.study_name,
            "number": self._numbers[tuple(words)],
        }
        told["after"] = self._options.prune_after if self._options.prune else None
        return f"+hydra.job.env_set.{VARIABLE}={QuotedString(json.dumps(told), Quote.single).with_quotes()}"

    def run(self) -> int:
        """Run trials until there are as many as wanted, earlier ones included; returns the exit status.

        Raises:
            RunError: another process works on this study: its trials would be taken for killed ones.
        """
        try:
            with FileLock(f"{self._file}.{self.study._study_id}.lock", timeout=0):
                return self._run()
        except Timeout as error:
            raise RunError(f"{self._file}: another search is working on these values; wait for it") from error

    def _run(self) -> int:
        from optuna.trial import TrialState

        for trial in self.study.get_trials(states=[TrialState.RUNNING]):
            self.study._storage.set_trial_user_attr(trial._trial_id, INTERRUPTED, True)
            self.study.tell(trial.number, state=TrialState.FAIL)
            self.study.enqueue_trial(trial.params)
        self._know_earlier()
        self._try_failed_again()
        while (left := self._options.trials - self._counted()) > 0:
            asked = [self.study.ask(self.space) for _ in range(min(left, self._options.at_once))]
            members = {self._words(trial.params): trial for trial in asked}
            for trial in asked:
                if trial not in members.values():  # the same values twice: one member, whose value both get
                    self.study.tell(trial.number, state=TrialState.FAIL)
            new = [words for words in members if words not in self.sweep.plan.members]
            self._numbers |= {words: trial.number for words, trial in members.items()}
            if new:
                self.sweep.run(new)
            for words, trial in members.items():
                self._tell(words, trial.number)
        best, count = self._best(), self._counted()
        nothing = [f"none of {count} trials has a result"] if count and not best else []
        return self.sweep.conclude(best or nothing) or int(bool(nothing))

    def _know_earlier(self) -> None:
        """Page and table have the trials of earlier starts, too."""
        from optuna.trial import TrialState

        ended = self.study.get_trials(states=[TrialState.COMPLETE, TrialState.PRUNED])
        members = {self._words(trial.params): trial.state for trial in ended}
        if members:
            self.sweep.know(list(members))
        pruned = [words for words, state in members.items() if state == TrialState.PRUNED]
        self.sweep.pruned |= dict.fromkeys(pruned, "by an earlier start")

    def _try_failed_again(self) -> None:
        """Ask for trials of earlier starts again whose runs have failed, as a grid does with its members."""
        from optuna.trial import TrialState

        trials = self.study.trials
        failed = [each for each in trials if each.state == TrialState.FAIL and FAILED in each.user_attrs]
        self._given_again = {trial.number for trial in failed}
        waiting = [each.system_attrs["fixed_params"] for each in trials if each.state == TrialState.WAITING]
        settled = [*waiting, *(each.params for each in trials if each.values is not None)]
        for trial in failed:
            if trial.params not in settled:
                self.study.enqueue_trial(trial.params)
                settled.append(trial.params)

    def _counted(self) -> int:
        trials = [each for each in self.study.get_trials(deepcopy=False) if each.number not in self._given_again]
        return sum(trial.state.is_finished() and INTERRUPTED not in trial.user_attrs for trial in trials)

    def _words(self, values: dict[str, Any]) -> Words:
        return (*self.fixed, *_written(values))

    def _tell(self, words: Words, number: int) -> None:
        from optuna.trial import TrialState

        trial, sweep = self.study.trials[number], self.sweep
        folder = sweep.plan.folders.get(words)
        if PRUNED in trial.user_attrs:
            sweep.pruned[words] = sweep.failed.pop(words, "")
            self.study.tell(number, state=TrialState.PRUNED)
        elif words in sweep.failed:
            self.study._storage.set_trial_user_attr(trial._trial_id, FAILED, sweep.failed[words])
            self.study.tell(number, state=TrialState.FAIL)
        elif words in sweep.plan.impossible or words in sweep.pruned or folder is None:
            self.study.tell(number, state=TrialState.FAIL)
        else:
            self.study.tell(number, values_of(folder, self.keys))

    def _best(self) -> list[str]:
        """The best trial; of several objectives the front: those that no other beats in all of them."""
        done = self.study.best_trials if any(trial.values for trial in self.study.trials) else []
        head = f"best of {self._counted()} trials:" if len(self.keys) == 1 else f"front of {self._counted()} trials:"
        lines = []
        for trial in sorted(done, key=lambda each: each.values):
            numbers = ", ".join(
                f"{key} {explain(key).show(value)}" for key, value in zip(self.keys, trial.values, strict=True)
            )
            line = f"  {numbers}: {' '.join(_written(trial.params))}"
            lines += [line] if line not in lines else []
        return [head, *lines] if lines else []


def _written(values: dict[str, Any]) -> list[str]:
    """Overrides; of numbers that may be any, four digits."""
    return [f"{key}={value:.4g}" if isinstance(value, float) else f"{key}={value}" for key, value in values.items()]


def distribution(override: Override) -> Any:
    """The values of a key: `8,16,32`, `range(1,9)`, `interval(0.1,0.5)`, `int(interval(1,64))`, or with
    `tag(log,interval(1e-5,1e-2))` on a logarithmic scale.

    Raises:
        ConfigError: another kind of sweep.
    """
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    value: Any = override.value()
    if isinstance(value, IntervalSweep):
        log = "log" in value.tags
        if isinstance(value.start, int) and isinstance(value.end, int):
            return IntDistribution(value.start, value.end, log=log)
        return FloatDistribution(float(value.start or 0.0), float(value.end or 0.0), log=log)
    if isinstance(value, ChoiceSweep | RangeSweep) or override.is_discrete_sweep():
        return CategoricalDistribution(list(override.sweep_string_iterator()))
    raise ConfigError(f"{override.input_line}: Optuna cannot search over this; use A,B,C or interval(A,B)")


def sweep_optuna(config: DictConfig, launch: Launch, overrides: Sequence[Override]) -> None:
    """All trials of a study.

    Raises:
        ConfigError: nothing is looked for, or over something that cannot be searched.
        SystemExit: some failed.
    """
    if find_spec("optuna") is None:
        raise ConfigError("hydra/sweeper=optuna_search: needs a package; pip install 'coin-lightning[sweeps]'")
    if status := OptunaSweep(config, launch, overrides).run():
        sys.exit(status)
