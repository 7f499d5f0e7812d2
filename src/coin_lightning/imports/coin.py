"""Result folders of CoIN's code and its forks: each run is read whole before anything of it is written."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from coin_lightning.config_folder import coin_order, conf_dir, task_nodes
from coin_lightning.continual.scenario import ordered
from coin_lightning.errors import ConfigError, DataError
from coin_lightning.evaluation.scorer import DEFAULT
from coin_lightning.evaluation.scorers import Scoring
from coin_lightning.evaluation.side_by_side import REFERENCE
from coin_lightning.imports.capital_letters import Hidden, hidden_in
from coin_lightning.imports.cells import Cell, read_cell
from coin_lightning.imports.findings import Findings
from coin_lightning.imports.folders import (
    ALPHABET,
    ANSWERS,
    OPTIONS,
    FoundRun,
    Place,
    cells_of,
    early,
    find_runs,
    order_of,
)
from coin_lightning.imports.questions import Questions, read_questions
from coin_lightning.imports.spellings import Nodes
from coin_lightning.metrics.score_matrix import JOINT, row_names

ORDERS = ("coin", "coin_alphabet", "alphabetical", "reversed")


@dataclass(frozen=True)
class ImportedRun:
    """A run as its files tell it.

    Attributes:
        found: where it lies.
        order: tasks as they were learned. nodes: what their yaml says.
        instructions: type of the instructions that the questions are from.
        cells: by row and task of the score matrix.
        questions: by task, as far as there is ground truth for answers.
        hidden: what capital letters make of it.
        findings: sentences about what is missing or wrong.
    """

    found: FoundRun
    order: Sequence[str]
    nodes: Nodes
    instructions: str
    cells: dict[tuple[int, str], Cell] = field(default_factory=dict)
    questions: dict[str, Questions] = field(default_factory=dict)
    hidden: list[Hidden] = field(default_factory=list)
    findings: list[str] = field(default_factory=list)

    @property
    def variant(self) -> str:
        """The variant that fills the matrix: `corrected`, but `reference` where of some cell only that one is known."""
        return DEFAULT if all(cell.scores is not None for cell in self.cells.values() if cell.is_scored) else REFERENCE

    @property
    def training(self) -> str:
        """As of a `ScoreMatrix`."""
        return "joint" if self.found.joint else "sequence"

    @property
    def rows(self) -> tuple[str, ...]:
        """Names of the rows of its score matrix."""
        return row_names(self.order, self.training)

    def title(self, name: str) -> str:
        """Of a task; the name of another row as it is."""
        return str(self.nodes.get(name, {}).get("title", name.replace("_", "-")))

    def where(self, position: int, task: str) -> str:
        """A cell in words: `ImageNet after GQA`."""
        column, row = self.title(task), self.title(self.rows[position])
        after = "joint training" if row == JOINT else row
        return f"{column} after {after}" if position else f"{column} zero-shot"


class Results:
    """What lies below a folder; its runs are read one by one, so that memory holds one.

    Args:
        root: the folder.
        data: data root in CoIN's layout, for the ground truth.
        instructions: type of the instructions whose questions were asked.
        order: in which the tasks were learned: one of `ORDERS` or names with commas; default: the first
            of `coin`, `coin_alphabet` and `alphabetical` which the stages fit.
        folders: config folders with yaml of further tasks.

    Attributes:
        runs: found. left_out: folders with results that belong to none.

    Raises:
        CoinLightningError: there is nothing to import, or the order names no tasks.
    """

    def __init__(
        self,
        root: Path,
        data: Path | None = None,
        instructions: str = "Instructions_Original",
        order: str | None = None,
        folders: Sequence[Path] = (),
    ) -> None:
        self.nodes = {name: node for folder in (conf_dir(), *folders) for name, node in task_nodes(folder).items()}
        self.order = None if order is None else _ordered(order, self.nodes)
        self.data, self.instructions = data, instructions
        self.runs, self.left_out = find_runs(root, self.nodes)
        self._known: dict[str, Questions] = {}

    def questions(self, task: str) -> Questions | None:
        """Questions of a task with their truth, read when they are first needed; None without a data root.

        Raises:
            DataError: they are not sound.
        """
        if self.data is not None and task not in self._known:
            self._known[task] = read_questions(self.data, self.instructions, task, self.nodes[task])
        return self._known.get(task)

    def read(self, run: FoundRun) -> ImportedRun:
        """One of `runs`, whole.

        Raises:
            DataError: files of it cannot be read (all of them are listed), or the ground truth is not sound.
            RunError: two folders stand for one cell, or a stage for none.
            ConfigError: its order is not clear, or a task lacks the rules that its cells need.
        """
        order, findings = order_of(run, coin_order(), self.order), Findings()
        read = ImportedRun(run, order, {task: self.nodes[task] for task in order}, self.instructions)
        scoring = {task: Scoring.of(task, node) for task, node in read.nodes.items()}
        places = cells_of(run, order)
        _note_missing(read, places, findings)
        problems: list[str] = []
        for (position, task), place in sorted(places.items()):
            try:
                asked = self.questions(task) if place.file(ANSWERS) or place.file(OPTIONS) else None
                where = read.where(position, task)
                read.cells[position, task] = read_cell(place, where, asked, scoring[task], position == 0, findings)
            except DataError as error:
                problems += [line for line in error.problems if line not in problems]
        if problems:
            raise DataError(problems)
        for (position, task), cell in read.cells.items():
            if cell.records is not None:
                scoring[task].scorer(read.variant)
                read.questions[task] = self._known[task]
            if not cell.is_scored:
                findings.add("cells without a score by a rule", read.where(position, task))
        read.hidden.extend(hidden_in(read.cells, order, scoring, findings))
        read.findings.extend(findings.lines())
        return read


def _ordered(order: str, nodes: Nodes) -> list[str]:
    if order == "coin_alphabet":
        return list(ALPHABET)
    if order in ORDERS:
        return ordered(coin_order(), order, 0)
    try:
        return ordered(list(nodes), order.split(","), 0)
    except ConfigError:
        raise ConfigError(
            f"--order {order}: use {', '.join(ORDERS)}, or names with commas, each once, out of {', '.join(nodes)}"
        ) from None


def _note_missing(read: ImportedRun, places: Mapping[tuple[int, str], Place], findings: Findings) -> None:
    """Say what the folders of a run lack of the lower triangle, and what of them belongs to no cell of it."""
    run, order = read.found, read.order
    for leaf in run.unknown:
        findings.add("folders that mean no known task or stage, left out", leaf.relative_to(run.folder).as_posix())
    for place in early(run, order):
        folder = place.folder.relative_to(run.folder).as_posix()
        findings.add("stages before the task's own training, which are shown as such", folder)
    for task in order:
        rows = [len(order)] if run.joint else range(order.index(task) + 1, len(order) + 1)
        missing = [position for position in rows if (position, task) not in places]
        every = len(missing) == len(rows) > 1
        for name in [f"{read.title(task)} at every stage"] if every else [read.where(row, task) for row in missing]:
            findings.add("cells without a file, which stay empty", name)
    if not any(position == 0 for position, _ in places):
        findings.add("no zero-shot scores")
