"""What capital letters hide, worked out by hand on ten answers."""

from pathlib import Path

from coin_lightning.config_folder import conf_dir, task_nodes
from coin_lightning.evaluation.scorers import Scoring
from coin_lightning.imports.capital_letters import hidden_in
from coin_lightning.imports.cells import Cell
from coin_lightning.imports.findings import Findings
from coin_lightning.imports.folders import Place
from coin_lightning.imports.result_files import Printed, Wrong
from coin_lightning.imports.spellings import OWN

ORDER = ["imagenet", "gqa", "vizwiz"]
SCORING = {task: Scoring.of(task, task_nodes(conf_dir())[task]) for task in ORDER}
LABELS = {"1": "Piggy bank", "2": "Tub", "3": "Dandie dinmont", "4": "Desk", "5": "Organ"}


def cell(stage: str, wrong: dict[str, str], labels: dict[str, str] = LABELS) -> Cell:
    listed = tuple(Wrong(id_, text, labels[id_]) for id_, text in wrong.items())
    printed = Printed(10.0 * (10 - len(wrong)), 10, listed)
    return Cell(Place("imagenet", stage, Path("run/ImageNet") / stage), printed=printed)


def test_counts_and_flips():
    cells = {
        (1, "imagenet"): cell(OWN, {"1": "bank", "5": "a piano"}),
        (2, "imagenet"): cell("gqa", {"1": "piggy bank", "2": "tub", "3": "dog", "4": "desk."}),
    }
    own, later = hidden_in(cells, ORDER, SCORING, Findings())
    assert (own.wrong, own.capitals, own.mended, own.lost, own.won) == (2, 0, 0, None, None)
    assert (later.samples, later.wrong) == (10, 4)
    assert later.capitals == 2  # piggy bank, tub
    assert later.mended == 3  # and the desk with its point
    assert (later.reference, later.corrected, later.at_most) == (60, 90, True)
    assert (later.lost, later.lost_in_capitals, later.won) == (
        3,
        1,
        1,
    )  # 2, 3, 4 are lost, 2 for its letter; 5 came back
    assert later.percent(later.capitals) == 20


def test_labels_that_the_rest_of_the_run_contradicts_are_told_and_not_counted():
    """As in a published zero-shot file, where answers and labels were joined by place in another order."""
    wrong = {"1": "piggy bank", "2": "tub", "3": "dog"}
    shuffled = dict(zip(LABELS, ["Tub", "Dandie dinmont", "Desk", "Organ", "Tub"], strict=True))
    cells = {
        (1, "imagenet"): cell(OWN, wrong),
        (2, "imagenet"): cell("gqa", wrong),
        (3, "imagenet"): cell("vizwiz", wrong, shuffled),
    }
    findings = Findings()
    assert [hidden.position for hidden in hidden_in(cells, ORDER, SCORING, findings)] == [1, 2]
    (line,) = findings
    assert "joined by place, in another order: ImageNet/vizwiz" in line
