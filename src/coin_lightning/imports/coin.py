"""Result folders of CoIN's code and its forks, read whole before anything is written."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from coin_lightning.config_folder import coin_order, conf_dir, task_nodes
from coin_lightning.continual.scenario import ordered
from coin_lightning.errors import CoinLightningError, ConfigError, DataError
from coin_lightning.evaluation.scorers import Scoring
from coin_lightning.imports.capital_letters import Hidden, hidden_in
from coin_lightning.imports.cells import Cell, read_cell
from coin_lightning.imports.findings import Findings
from coin_lightning.imports.folders import ANSWERS, OPTIONS, FoundRun, cells_of, early, find_runs, order_of
from coin_lightning.imports.questions import Questions, read_questions
from coin_lightning.imports.spellings import Nodes
from coin_lightning.metrics.score_matrix import JOINT, row_names

ORDERS = ("coin", "alphabetical", "reversed")


@dataclass(frozen=True)
class ImportedRun:
    """A run as its files tell it.

    Attributes:
        found: where it lies.
        order: tasks as they were learned. nodes: what their yaml says.
        cells: by row and task of the score matrix.
        questions: by task, as far as there is ground truth.
        instructions: type of the instructions that the questions are from.
        hidden: what capital letters make of it.
        findings: sentences about what is missing or wrong.
    """

    found: FoundRun
    order: Sequence[str]
    nodes: Nodes
    cells: Mapping[tuple[int, str], Cell]
    questions: Mapping[str, Questions]
    instructions: str
    hidden: Sequence[Hidden]
    findings: Sequence[str]

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


def read_results(
    root: Path,
    data: Path | None = None,
    instructions: str = "Instructions_Original",
    order: str | None = None,
    folders: Sequence[Path] = (),
) -> "Results":
    """All runs below a folder.

    Args:
        root: the folder.
        data: data root in CoIN's layout, for the ground truth.
        instructions: type of the instructions whose questions were asked.
        order: in which the tasks were learned: one of `ORDERS` or names with commas; default: CoIN's, or the
            alphabetical one where the stages say so.
        folders: config folders with yaml of further tasks.

    Returns:
        see `Results`.

    Raises:
        CoinLightningError: there is nothing to import, or the order names no tasks.
    """
    nodes = {name: node for folder in (conf_dir(), *folders) for name, node in task_nodes(folder).items()}
    given = None if order is None else _ordered(order, nodes)
    runs, left_out = find_runs(root, nodes)
    truths = Truths(data, instructions, nodes)
    read, refused = list[ImportedRun](), list[CoinLightningError]()
    for run in runs:
        try:
            read.append(_read(run, order_of(run, coin_order(), given), truths))
        except CoinLightningError as error:
            refused.append(error)
    return Results(read, refused, left_out)


@dataclass(frozen=True)
class Results:
    """What lies below a folder: runs, why others cannot be imported, and folders with results that belong to none.

    A run is refused when files of it cannot be read (all of them are listed), two folders stand for one cell, its order
    of tasks is not clear, or the ground truth is not sound.
    """

    runs: Sequence[ImportedRun]
    refused: Sequence[CoinLightningError]
    left_out: Sequence[Path]


def _ordered(order: str, nodes: Nodes) -> list[str]:
    if order in ORDERS:
        return ordered(coin_order(), order, 0)
    try:
        return ordered(list(nodes), order.split(","), 0)
    except ConfigError:
        raise ConfigError(
            f"--order {order}: use {', '.join(ORDERS)}, or names with commas, each once, out of {', '.join(nodes)}"
        ) from None


class Truths:
    """Questions of the tasks with their truth, each read when it is first needed.

    Args:
        data: data root; None: there are none.
        instructions: see `read_results`.
        nodes: what the tasks' yaml says.
    """

    def __init__(self, data: Path | None, instructions: str, nodes: Nodes) -> None:
        self.data, self.instructions, self.nodes = data, instructions, nodes
        self._known: dict[str, Questions | None] = {}

    def of(self, task: str) -> Questions | None:
        """Those of a task; None where there are none.

        Raises:
            DataError: they are not sound.
        """
        if self.data is not None and task not in self._known:
            self._known[task] = read_questions(self.data, self.instructions, task, self.nodes[task])
        return self._known.get(task)


def _read(run: FoundRun, order: Sequence[str], truths: Truths) -> ImportedRun:
    findings, nodes = Findings(), truths.nodes
    places = cells_of(run, order)
    made = ImportedRun(run, order, {task: nodes[task] for task in order}, {}, {}, truths.instructions, (), ())
    for leaf in run.unknown:
        findings.add("folders that mean no known task or stage, left out", leaf.relative_to(run.folder).as_posix())
    for place in early(run, order):
        folder = place.folder.relative_to(run.folder).as_posix()
        findings.add("stages before the task's own training, which are shown as such", folder)
    for task in order:
        rows = [len(order)] if run.joint else range(order.index(task) + 1, len(order) + 1)
        missing = [position for position in rows if (position, task) not in places]
        every = len(missing) == len(rows) > 1
        for name in [f"{made.title(task)} at every stage"] if every else [made.where(row, task) for row in missing]:
            findings.add("cells without a file, which stay empty", name)
    cells: dict[tuple[int, str], Cell] = {}
    scoring = {task: Scoring.of(task, nodes[task]) for task in order}
    problems: list[str] = []
    for (position, task), place in sorted(places.items()):
        try:
            asked = truths.of(task) if place.file(ANSWERS) or place.file(OPTIONS) else None
            where = made.where(position, task)
            cells[position, task] = read_cell(place, where, asked, scoring[task], position == 0, findings)
        except DataError as error:
            problems += [line for line in error.problems if line not in problems]
    if problems:
        raise DataError(problems)
    for position, task in (key for key, cell in cells.items() if not cell.is_scored):
        findings.add("cells without a score by a rule", made.where(position, task))
    if not any(position == 0 for position, _ in cells):
        findings.add("no zero-shot scores")
    questions = {task: asked for task in order if (asked := truths.of(task) if task in _used(cells) else None)}
    hidden = hidden_in(cells, order, scoring, findings)
    return ImportedRun(run, order, made.nodes, cells, questions, truths.instructions, hidden, findings.lines())


def _used(cells: Mapping[tuple[int, str], Cell]) -> set[str]:
    return {task for (_, task), cell in cells.items() if cell.records is not None}
