"""`RunDir`: the folder of a run, its files, and the score matrix that they add up to (design section 8)."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from coin_lightning import processes
from coin_lightning.continual.environment import continued, environment, same_data, told
from coin_lightning.continual.free_keys import is_free, names_data
from coin_lightning.continual.giving_way import FILE, LAST, Change, gives_way, notes, trains_otherwise
from coin_lightning.continual.variant_grids import guesses_of, variant_grids
from coin_lightning.errors import CoinLightningError, EndedEarlyError, RefusedError, RunError
from coin_lightning.evaluation.judges.summary import judges_of, own_metrics
from coin_lightning.evaluation.scorer import DEFAULT
from coin_lightning.evaluation.side_by_side import versions_of
from coin_lightning.manifest import check, write_known_json, write_known_text
from coin_lightning.metrics.score_matrix import TRAININGS, ScoreMatrix, metrics_to_json, positions, row_names
from coin_lightning.run_files import AGAIN, IMPORTED, read_config, read_json, remedy, task_names, write_config
from coin_lightning.whole_files import write_json

COMPUTED = (
    "tasks", "rows", "unit", "training", "scores", "counts", "metrics", "cost", "judges", "variants", "differing",
    "versions", "guesses",
)  # fmt: skip
"""Fields of `matrix.json` that the other files of a run give; what is left are facts that no file has."""


SHORT = {"16": "16-mixed", "bf16": "bf16-mixed", "32": "32-true", "64": "64-true"}
"""Lightning's older names of precisions."""
MODEL = "model"
"""Field of `environment.json`: with what the run computes, known before its first scores."""
LIKE_THE_FIRST = "use a machine like the first"
OTHER_MODEL = {
    "precision": ("in precision {}, and trainer.precision=auto is {} on this machine (as backbone.dtype=auto is)",
                  LIKE_THE_FIRST),
    "dtype": ("in dtype {}, and backbone.dtype=auto is {} on this machine", LIKE_THE_FIRST),
    "fingerprint": ("on a base model of other weights (fingerprint {}, now {})", "restore those it was begun with"),
}  # fmt: skip
"""What another value of a field means, and what helps."""
COMMAND = "command.json"
"""The arguments that the run was last started with, and the folder where."""
FAILED = "failed.json"
"""Why the last start of an unfinished run ended; not there when it was stopped from outside."""
BATCHES = (
    "Batches of training may change in a run where protocol.global_batch sets the samples of a step and "
    "protocol.loss_weighting is exact."
)


def differences(old: Any, new: Any, path: str = "") -> list[Change]:
    """Where two nested configs differ, but for free keys."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        names = {key: f"{path}.{key}" if path else str(key) for key in [*old, *new]}
        kept = {key: name for key, name in names.items() if not is_free(name)}
        return [each for key, name in kept.items() for each in differences(old.get(key), new.get(key), name)]
    return [] if old == new else [Change(path, old, new)]


def _task_nodes(config: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Of a config the tasks, by name."""
    nodes = (config.get("scenario") or {}).get("tasks") or {}
    return {str(node.get("name", key)): node for key, node in nodes.items()}


def _data_places(node: Any, path: str = "") -> dict[str, Any]:
    if not isinstance(node, Mapping):
        return {path: node} if names_data(path) else {}
    parts = (_data_places(each, f"{path}.{key}" if path else str(key)) for key, each in node.items())
    return {key: place for part in parts for key, place in part.items()}


def bound_scores(facts: Mapping[str, Any]) -> dict[str, list[float]]:
    """Scores by kind of bound, in the order of the tasks, for `ScoreMatrix.summary`."""
    return {kind: list(bound["scores"].values()) for kind, bound in facts.get("bounds", {}).items()}


class RunDir:
    """Paths and files of one run.

    Args:
        path: the folder; made when missing.
        tasks: names in scenario order.
        training: `sequence`, `joint` or `nothing`; see `ScoreMatrix`.
    """

    def __init__(self, path: Path, tasks: Sequence[str], training: str = "sequence") -> None:
        self.path, self.tasks, self.training = Path(path), list(tasks), training
        self.positions = positions(len(self.tasks), training)
        self.path.mkdir(parents=True, exist_ok=True)

    @classmethod
    def open(cls, path: Path) -> "RunDir":
        """The folder of a run that has been evaluated at least once; tasks as its `matrix.json` names them.

        Raises:
            RunError: no such folder, or none of a run that has scores; or an experience that it had is gone.
        """
        file = path / "matrix.json"
        if not file.is_file():
            what = "no matrix.json; if it is a run, start it again to go on" if path.is_dir() else "no such folder"
            raise RunError(f"{path}: {what}; give the folder of a run that has been evaluated")
        written = read_json(file)
        tasks, training = task_names(written, file), written.get("training", written.get("learned", "sequence"))
        if training not in TRAININGS:
            raise RunError(f"{file}: field 'training' is {training!r}; {remedy(file)}")
        run = cls(path, tasks, training)
        run._refuse_loss(written.get("scores"))
        return run

    def _refuse_loss(self, rows: Any) -> None:
        """Who writes the summary anew would leave out what is gone."""
        for position, row in enumerate(rows if isinstance(rows, list) else ()):
            known = position in self.positions and isinstance(row, list) and any(score is not None for score in row)
            if known and not (file := self.folder(position) / "scores.json").is_file():
                raise RunError(
                    f"{file}: is gone, and matrix.json has its scores; put it back, or start the run again to make it"
                )

    @contextmanager
    def working(self, alone: bool = False) -> Iterator[None]:
        """Keep other processes from working in the folder; the lock goes with the process, however it ends.

        The ranks of one job share the lock of their first.

        Args:
            alone: this process does it by itself; the others of the job may have left.

        Raises:
            RunError: another process has it.
        """
        lock = FileLock(self.path / ".lock", timeout=0)
        if alone:
            self._acquire(lock)
        else:
            processes.decide(partial(self._acquire, lock))
        try:
            yield
        finally:
            lock.release()

    def is_held(self) -> bool:
        """Whether a process is working in the folder now."""
        lock = FileLock(self.path / ".lock", timeout=0)
        try:
            lock.acquire()
        except Timeout:
            return True
        except OSError:  # nobody works where nothing can be written
            return False
        lock.release()
        return False

    @contextmanager
    def noting_failure(self) -> Iterator[None]:
        """Keep in `failed.json` why the work ended, for who looks at many runs, and whether that was meant (`early`); a
        new start forgets it. Of several processes the one that failed keeps its reason, not those that lost it.
        """
        file = self.path / FAILED
        if processes.is_first():
            file.unlink(missing_ok=True)
        try:
            yield
        except processes.DecidedElsewhereError:
            raise
        except Exception as error:
            deliberate, first = isinstance(error, CoinLightningError), processes.is_first()
            kind = "" if deliberate else f"{type(error).__name__}: "
            where = "" if first else f"process {processes.rank()}: "
            with suppress(OSError):  # what cannot be written any more is told by the error itself
                if (first and deliberate) or not file.exists():
                    write_json(file, {"error": f"{where}{kind}{error}", "early": isinstance(error, EndedEarlyError)})
            raise

    def _acquire(self, lock: FileLock) -> None:
        try:
            lock.acquire()
        except Timeout as error:
            raise RunError(
                f"{self.path}: another process is working in this run folder; wait for it, or give the run another "
                "folder with experiment_name=..."
            ) from error

    def folder(self, position: int) -> Path:
        """Folder of an experience: `task_00_zero_shot`, `task_01_<name>`, ...; the last may be `task_08_joint`."""
        return self.path / f"task_{position:02d}_{row_names(self.tasks, self.training)[position]}"

    def previous(self, position: int) -> int:
        """The experience before `position`; 0 has none and gives itself."""
        return max((other for other in self.positions if other < position), default=0)

    def claim(self, config: Mapping[str, Any]) -> None:
        """Write `config.yaml`, or check that the one that is there says the same. Before any result it may change.

        What `giving_way` lets change is put into it, and into `changes.json`.

        Raises:
            RunError: as `compare`.
        """
        if not self.started():
            self._refuse_foreign()
            write_config(self.path, config)
        elif (found := self.compare(config)) and not self.finished():
            done = self.scores()
            self.note(found, self.folder(next(each for each in self.positions if each not in done)).name)
            write_config(self.path, config)

    def compare(self, config: Mapping[str, Any]) -> list[Change]:
        """What has changed since the run was started, and may; writes nothing.

        Raises:
            RunError: the folder belongs to another config (the message has the differences), its config is lost, or
                something foreign lies there.
        """
        self._refuse_foreign()
        stored = read_config(self.path)
        found = differences(stored, config)
        if refused := [change for change in found if not gives_way(change, config)]:
            raise RefusedError(
                f"{self.path}: was started with another config, so it cannot be continued:\n"
                + "\n".join(map(str, refused))
                + "\nUndo the change, or choose another folder with experiment_name=..., or move this one away."
                + (f"\n{BATCHES}" if any(change.key.endswith("batches.size") for change in refused) else "")
            )
        middle = sorted(self.path.glob(f"task_*/{LAST}"))
        if middle and any(map(trains_otherwise, found)):
            raise RefusedError(
                f"{self.path}: a task cannot be continued in its middle with batches of another size; remove "
                f"{middle[0]} to learn it from its beginning, or undo the change:\n" + "\n".join(map(str, found))
            )
        self._claim_scorers(stored, config)
        return found

    def note(self, changes: Sequence[Change], at: str) -> None:
        """Keep them in `changes.json`; `at` says when they came."""
        if not changes:
            return
        told = [{"key": key, "old": old, "new": new, "at": at} for key, old, new in changes]
        write_json(self.path / FILE, {"changes": [*self._changes().get("changes", []), *told]})

    def _changes(self) -> dict[str, Any]:
        file = self.path / FILE
        return read_json(file) if file.exists() else {}

    def change_notes(self) -> list[str]:
        """Sentences about what has changed since the run was started; see `giving_way`."""
        file = self.path / "environment.json"
        later = read_json(file).get("later", []) if file.exists() else []
        return [*notes(self._changes()), *map(told, later)]

    def _claim_scorers(self, stored_config: Mapping[str, Any], config: Mapping[str, Any]) -> None:
        """Refuse to add scores by other scorers of a task, or by another version, to those that are there."""
        wanted, stored = _task_nodes(config), _task_nodes(stored_config)
        for task, old in self.versions().items():
            version = wanted.get(task, {}).get("version", 1)
            if task in wanted and version != old:
                raise RefusedError(
                    f"{self.path}: {task} was scored by version {old} of its scorers, and the config has version "
                    f"{version}; score the kept answers again first: python -m coin_lightning score {self.path} "
                    "(with --config-dir as the run has it)"
                )
            ours, theirs = (nodes.get(task, {}).get("scorers") or {} for nodes in (wanted, stored))
            if changed := [name for name in ours if name in theirs and ours[name] != theirs[name]]:
                raise RefusedError(
                    f"{self.path}: {task} was scored by another {changed[0]} scorer, {theirs[changed[0]]} and not "
                    f"{ours[changed[0]]}; undo the change, or give the task's yaml a higher version and score the kept "
                    f"answers again first: python -m coin_lightning score {self.path}"
                )

    @property
    def is_imported(self) -> bool:
        """Whether the folder was made from another program's results."""
        return (self.path / IMPORTED).is_file()

    def refuse_imported(self) -> None:
        """See that the run was trained here.

        Raises:
            RunError: it was imported, so there are no weights to go on from.
        """
        if self.is_imported:
            raise RefusedError(
                f"{self.path}: was imported from results of another program ({IMPORTED}); there is nothing to train or "
                "evaluate it with. report, score, judge and runs read it; for a run of your own choose another folder "
                "with experiment_name=..."
            )

    def _refuse_foreign(self) -> None:
        """Imported runs are none to continue, and Lightning loads its own requeueing checkpoint into every training and
        every evaluation that finds one."""
        self.refuse_imported()
        for file in sorted(self.path.glob("hpc_ckpt_*")):
            raise RefusedError(
                f"{file}: a requeueing checkpoint of another program; Lightning would load it into every "
                "task. Tasks that were learned while it was there may hold its weights: move it and their folders away"
            )

    def started(self) -> bool:
        """Whether anything has been computed."""
        return any(self.path.glob("task_*/*"))

    def claim_data(self, data: Mapping[str, Any]) -> None:
        """Write `environment.json`; on continuing, check first that the data are the same. What has changed of machine
        and software since then stands in it under `later`.

        Args:
            data: by task, as `check_data` has it.

        Raises:
            RunError: a file has changed since the run was started.
        """
        self.check_data(data)
        done = self.scores()
        at = next((self.folder(position).name for position in self.positions if position not in done), None)
        write_json(self.path / "environment.json", continued(self._begun_with(), environment(data), at))

    def _begun_with(self) -> dict[str, Any]:
        """`environment.json` as it binds what is still to come; empty before anything has been computed."""
        file = self.path / "environment.json"
        return dict(read_json(file)) if file.exists() and self.started() else {}

    def check_data(self, data: Mapping[str, Mapping[str, Any]]) -> None:
        """See that the data are those of the run.

        Args:
            data: by task, the `sha256` of its files by name and, where they have been looked at, of its `images`.

        Raises:
            RunError: they have changed since the run was started.
        """
        old = self._begun_with().get("data", {})
        changed = [task for task in data if task in old and not same_data(old[task], data[task])]
        if changed:
            raise RefusedError(
                f"{self.path}: the data of {', '.join(changed)} changed since this run was started, so its scores "
                "would not fit together; restore the files, or choose another folder with experiment_name=..."
            )

    def has_data_of(self, config: Mapping[str, Any]) -> bool:
        """Whether a config looks for the data where the run found them."""
        return _data_places(read_config(self.path)) == _data_places(config)

    def claim_model(self, model: Mapping[str, str | None]) -> None:
        """As `check_model`, and what is computed from now on is known to be of this model.

        Raises:
            RunError: as there.
        """
        self.check_model(model)
        file = self.path / "environment.json"
        content = read_json(file) if file.exists() else {}
        if MODEL not in content or not self.started():
            write_json(file, {**content, MODEL: dict(model)})

    def check_model(self, model: Mapping[str, str | None]) -> None:
        """See that a run goes on, or is evaluated, with the model that it was begun with: `auto` follows the machine,
        and other weights may lie in a folder since then.

        Args:
            model: `precision` by Lightning's name, `dtype` of the frozen weights, their `fingerprint`. What was not
                known at the beginning, or is not now, is not compared.

        Raises:
            RunError: it would not.
        """
        kept = self._begun_with().get(MODEL, {})
        try:
            told = self.facts().get("protocol", {}).get("precision")
        except RunError:  # a kill came between it and its hash: it is written anew
            told = None
        precision = told or kept.get("precision")
        known = {**kept, "precision": SHORT.get(str(precision), precision)}
        for name, now in model.items():
            if now is not None and known.get(name) is not None and known[name] != now:
                found, remedy = OTHER_MODEL[name]
                raise RefusedError(
                    f"{self.path}: was begun {found.format(known[name], now)}, so its scores would not fit together; "
                    f"{remedy}, or start a run of its own in another folder with experiment_name=..."
                )

    def claim_subsets(self, subsets: Mapping[str, Any]) -> None:
        """Write `subsets.json`; on continuing, check first that the same samples are used.

        Args:
            subsets: by task and split: how many samples there are (`of`), and the `ids` of those used; null: all.

        Raises:
            RunError: other samples would be used now.
        """
        file = self.path / "subsets.json"
        old = read_json(file) if file.exists() and self.started() else {}
        changed = [task for task in subsets if task in old and old[task] != subsets[task]]
        if changed:
            raise RefusedError(
                f"{self.path}: other samples of {', '.join(changed)} would be used than when this run was started "
                "(subsets.json); restore the list of ids, or choose another folder with experiment_name=..."
            )
        write_json(file, dict(subsets))

    def summary_is_current(self) -> bool:
        """Whether `matrix.json` holds every row that has scores, and every judgement, and the others are sound."""
        try:
            written = read_json(self.path / "matrix.json")
            for name in ("metrics.json", "matrix.csv"):
                check(self.path / name, None, AGAIN)
        except (RunError, FileNotFoundError):  # the other files of the run give all of it
            return False
        matrix = self.matrix()
        same_scores = written.get("scores") == matrix.to_json()["scores"]
        return same_scores and written.get("judges", {}) == judges_of(self.path, matrix.rows, self.tasks)

    def finished(self) -> bool:
        """Whether every experience has scores."""
        return set(self.scores()) == set(self.positions)

    def scores(self) -> dict[int, dict[str, Any]]:
        """`scores.json` of every finished experience, by position."""
        files = {position: self.folder(position) / "scores.json" for position in self.positions}
        return {position: read_json(file) for position, file in files.items() if file.exists()}

    @property
    def variant(self) -> str:
        """The variant of the scorers that fills the score matrix."""
        return next((str(scores["scorer"]) for scores in self.scores().values() if "scorer" in scores), DEFAULT)

    def versions(self) -> dict[str, int]:
        """Version of each task's scorers behind all its scores.

        Raises:
            RunError: two experiences were scored by unlike versions.
        """
        found: dict[str, int] = {}
        for position, scores in self.scores().items():
            for task, own in versions_of(scores).items():
                if found.setdefault(task, own) != own:
                    raise RunError(
                        f"{self.folder(position)}: {task} was scored by version {own} of its scorers, earlier in the "
                        f"run by {found[task]}; score the run again: python -m coin_lightning score {self.path}"
                    )
        return found

    def matrix(self) -> ScoreMatrix:
        """What has been scored so far."""
        matrix = ScoreMatrix.empty(self.tasks, self.training)
        for position, scores in self.scores().items():
            matrix = matrix.with_row(position, scores["scores"], scores["counts"])
        return matrix

    def costs(self) -> dict[str, Any]:
        """Sums over `train.json` and `scores.json`; empty for an imported run, of which nobody knows them."""
        if self.is_imported:
            return {}
        trained = [self.folder(position) / "train.json" for position in self.positions[1:]]
        tasks = [read_json(file) for file in trained if file.exists()]
        return {
            "train_seconds": sum(task["seconds"] for task in tasks),
            "evaluation_seconds": sum(scores["seconds"] for scores in self.scores().values()),
            "trainable_parameters": max((task["trainable_parameters"] for task in tasks), default=0),
            "checkpoint_bytes": max((task["checkpoint_bytes"] for task in tasks), default=0),
            "peak_memory_bytes": max((task["peak_memory_bytes"] for task in tasks), default=0),
            "per_task": tasks,
        }

    def write_summary(self, facts: Mapping[str, Any]) -> ScoreMatrix:
        """Write `matrix.csv`, `metrics.json`, `matrix.json`; `facts` are what no file has (protocol, ...).

        `matrix.json` comes last: it says whether the summary is current.
        """
        matrix = self.matrix()
        judges = judges_of(self.path, matrix.rows, self.tasks)
        cost = self.costs()
        facts = _with_step_notes(self._with_current_bounds(facts), cost)
        metrics = metrics_to_json(matrix.summary(**bound_scores(facts)))
        metrics |= own_metrics(judges, facts.get("protocol", {}).get("judge"))
        computed = {"versions": self.versions(), "metrics": metrics, "cost": cost, "judges": judges}
        computed |= variant_grids(self.tasks, self.scores(), self.training)
        computed["guesses"] = guesses_of(self.scores(), self.variant)
        write_known_json(self.path / "metrics.json", metrics)
        write_known_text(self.path / "matrix.csv", matrix.as_csv())
        write_known_json(self.path / "matrix.json", {**matrix.to_json(), **computed, **facts})
        return matrix

    def _with_current_bounds(self, facts: Mapping[str, Any]) -> dict[str, Any]:
        """Facts without the bounds that were scored by another version of the scorers than the run is now."""
        versions = self.versions()
        bounds = {
            kind: bound
            for kind, bound in facts.get("bounds", {}).items()
            if all(bound["versions"].get(task, own) == own for task, own in versions.items())
        }
        return {**facts, "bounds": bounds} if bounds else {key: facts[key] for key in facts if key != "bounds"}

    def facts(self) -> dict[str, Any]:
        """What `matrix.json` says beyond the other files of the run: protocol, seed, names, notes.

        Raises:
            RunError: there is no readable `matrix.json`.
        """
        written = read_json(self.path / "matrix.json")
        return {key: value for key, value in written.items() if key not in COMPUTED}

    def refresh(self, judge: str | None = None, bounds: Mapping[str, Any] | None = None) -> ScoreMatrix:
        """Write the summary again after scores or judgements were added to a run, with the facts that it has.

        Args:
            judge: becomes the run's own judge where it had none.
            bounds: of `bounds.find_bounds`, beside those of other kinds that it has.

        Raises:
            RunError: there is no readable `matrix.json`.
        """
        facts = self.facts()
        protocol = facts.get("protocol", {})
        facts["bounds"] = {**facts.get("bounds", {}), **(bounds or {})}
        return self.write_summary({**facts, "protocol": {**protocol, "judge": protocol.get("judge") or judge}})


def _with_step_notes(facts: Mapping[str, Any], cost: Mapping[str, Any]) -> dict[str, Any]:
    """Facts with a sentence about each task of which a loss scaler dropped steps."""
    told = facts.get("notes", [])
    dropped = [
        f"{task['task']}: {task['dropped_steps']} of {task['steps']} optimizer steps were dropped, since their "
        "gradients were beyond float16; the learning rate went on."
        for task in cost.get("per_task", []) if task.get("dropped_steps")
    ]  # fmt: skip
    new = [note for note in dropped if note not in told]
    return {**facts, "notes": [*told, *new]} if new else dict(facts)
