"""Terminal output: plain text at 80 columns, colours only on a terminal."""

import io
from collections.abc import Callable
from pathlib import Path

from fake_run import TASKS, add_judge
from rich.console import Console, RenderableType
from small_matrix import NULL, content, matrix

from coin_lightning.reporting.run_matrix import load_matrix, parse_matrix
from coin_lightning.reporting.terminal import final_summary, matrix_table, metrics_panel, run_header

MakeRun = Callable[..., Path]


def show(renderable: RenderableType, width: int = 80, terminal: bool = False) -> str:
    file = io.StringIO()
    color = "standard" if terminal else None
    console = Console(file=file, width=width, force_terminal=terminal, color_system=color, no_color=not terminal)
    console.print(renderable)
    return file.getvalue()


def test_plain_table_has_every_number_and_the_changes() -> None:
    lines = [line.split() for line in show(matrix_table(matrix())).splitlines() if line.strip()]
    assert lines[0] == ["after", "a", "b", "c"]
    assert lines[2:] == [["zero-shot", "10.0", "20.0", "5.0"], ["a", "60.0", "15.0", "5.0"], ["b", "40.0", "70.0", "·"],
                         ["c", "50.0", "30.0", "80.0"], ["change", "\u221210.0", "\u221240.0", "+75.0"]]  # fmt: skip


def test_below_zero_shot_stands_what_the_questions_give_without_looking() -> None:
    guesses = {
        "a": {"answer": "A", "score": 40.0, "chance": 50.0},
        "c": {"answer": "no", "score": 25.0, "chance": None},
    }
    lines = [line.split() for line in show(matrix_table(parse_matrix(content(guesses=guesses)))).splitlines()]
    assert lines[lines.index(["zero-shot", "10.0", "20.0", "5.0"]) + 1] == ["guessing", "50.0", "·", "25.0"]


def test_highlighted_row_carries_its_changes() -> None:
    lines = [line.split() for line in show(matrix_table(matrix(), highlight_row=2)).splitlines()]
    assert lines[lines.index(["b", "40.0", "70.0", "·"]) + 1] == ["change", "\u221220.0", "+50.0", "·"]


def test_eight_and_ten_tasks_fit_into_80_columns_without_ansi(make_run: MakeRun) -> None:
    for name, tasks in (("eight", TASKS), ("ten", (*TASKS, "extra_one", "extra_two"))):
        text = show(matrix_table(load_matrix(make_run(name, tasks=tasks, answers=4, images=False, router=False))))
        assert max(len(line) for line in text.splitlines()) <= 80
        assert "\x1b" not in text
        assert "…" not in text


def test_gain_is_green_and_loss_red_on_a_terminal() -> None:
    text = show(matrix_table(matrix()), terminal=True)
    assert "32m+75.0" in text
    assert "31m\u221240.0" in text


def test_unfinished_rows_are_left_out(make_run: MakeRun) -> None:
    text = show(matrix_table(load_matrix(make_run(finished=1, answers=4, images=False))))
    assert "ScienceQA" in text
    assert "TextVQA" not in text


def test_metrics_name_what_is_not_defined() -> None:
    text = show(metrics_panel({"acc": 33.84, "bwt": -32.1, "fwt": None}))
    assert "33.8" in text
    assert "\u221232.1" in text
    assert "not defined for this matrix: Forward transfer (FWT)" in text
    assert "33.8" not in show(metrics_panel({"acc": None}))


def test_names_with_markup_are_printed_as_they_are(tmp_path: Path) -> None:
    text = show(run_header("e", "LoRA", "tiny", 3, ["GQA", "[red]x"], tmp_path / "[bold]", ["a [note]"]), width=200)
    for part in ("e: LoRA on tiny, seed 3", "GQA > [red]x", "[bold]", "a [note]"):
        assert part in text


def test_final_summary(make_run: MakeRun) -> None:
    run = make_run(answers=4, images=False)
    text = show(final_summary(run), width=200)
    assert str(run / "report.html") in text
    assert "training 9 min 8 s, evaluation 3 min 36 s" in text  # 8 x 64 + 36 s, 9 x 20 + 36 s


def test_the_final_summary_names_what_the_start_named(make_run: MakeRun) -> None:
    """Titles, not keys: `run_header` gets both."""
    lines = show(final_summary(make_run(tasks=("gqa", "vizwiz"), answers=4, images=False)), width=200).splitlines()
    assert "tasks GQA > VizWiz" in [" ".join(line.split()) for line in lines]
    (experiment,) = [line for line in lines if line.split()[:1] == ["experiment"]]
    assert ": MoELoRA on " in experiment


def test_a_joint_run_has_its_row_against_zero_shot() -> None:
    joint = parse_matrix(content([[10, 20, 5], [NULL] * 3, [NULL] * 3, [50, 60, 4]], training="joint"))
    lines = [line.split() for line in show(matrix_table(joint)).splitlines() if line.strip()]
    assert lines[2:] == [["zero-shot", "10.0", "20.0", "5.0"], ["joint", "50.0", "60.0", "4.0"],
                         ["change", "+40.0", "+40.0", "\u22121.0"]]  # fmt: skip


def test_the_headline_bwt_comes_first() -> None:
    metrics = {"maa": 40.0, "bwt": -30.0, "bwt_coin": -20.0, "acc": 50.0}
    for headline, order in (("bwt", ["50.0", "\u221230.0", "40.0", "\u221220.0"]),
                            ("bwt_coin", ["50.0", "\u221220.0", "40.0", "\u221230.0"])):  # fmt: skip
        lines = show(metrics_panel(metrics, headline)).splitlines()
        assert [part for line in lines for part in line.split() if part in order] == order


def test_a_judges_metrics_stand_beside_those_of_the_rules() -> None:
    metrics = {"acc": 1.0, "judge/acc": 3.5, "bwt": -2.0, "judge/bwt": None, "fwt": None, "judge/fwt": None}
    lines = [line.split() for line in show(metrics_panel(metrics), width=200).splitlines()]
    assert lines[1] == ["metric", "by", "rules", "by", "judge"]
    assert lines[3][:5] == ["Final", "accuracy", "(ACC)", "1.0", "3.5"]
    assert lines[4][:5] == ["Backward", "transfer", "(BWT)", "\u22122.0", "\u2013"]
    assert sum(" ".join(line).count("Forward transfer (FWT)") for line in lines) == 1


def test_the_final_summary_shows_the_matrix_of_each_judge(make_run: MakeRun) -> None:
    run = make_run(tasks=("gqa", "vqav2"), answers=4, images=False)
    add_judge(run, "near")
    text = show(final_summary(run), width=200)
    assert "general knowledge, by judge near" in text
    assert len([line for line in text.splitlines() if line.startswith(" zero-shot ")]) == 2


def test_the_header_tells_orders_from_unions(tmp_path: Path) -> None:
    for training, names in (("sequence", "GQA > VizWiz"), ("joint", "GQA + VizWiz"), ("nothing", "GQA, VizWiz")):
        header = run_header("e", "lora", "tiny", 0, ["GQA", "VizWiz"], tmp_path, training=training)
        assert names in show(header, width=200)
