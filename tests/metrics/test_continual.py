"""Metrics against hand-worked matrices, published rows and slow direct formulas."""

import math

import numpy as np
import pytest

from coin_lightning.errors import ConfigError
from coin_lightning.metrics.continual import forgetting_per_task, split_rows, summarize

NAN = float("nan")

# CoIN's radar figure, LLaVA-1.5-7B with LoRA: score right after training, and after the last task.
LORA_IMMEDIATE = [82.45, 49.99, 96.05, 56.40, 55.45, 31.27, 62.20, 57.08]
LORA_FINAL = [21.26, 28.74, 10.25, 36.78, 32.45, 0.83, 42.50, 57.08]
MOELORA_IMMEDIATE = [75.78, 51.73, 96.70, 59.42, 58.88, 37.50, 64.22, 60.08]
MOELORA_FINAL = [63.07, 38.63, 10.50, 37.38, 43.62, 0.59, 43.15, 60.08]

# The stored lower triangles of the same runs without ScienceQA, in the order TextVQA ... OCR-VQA.
LORA_TRIANGLE = [
    [49.99],
    [0.04, 96.05],
    [18.62, 6.42, 56.40],
    [25.13, 4.70, 40.08, 55.45],
    [0.00, 0.00, 7.25, 0.05, 31.27],
    [36.83, 8.43, 50.18, 22.77, 2.49, 62.20],
    [28.74, 10.25, 36.78, 32.45, 0.83, 42.50, 57.08],
]
MOELORA_TRIANGLE = [
    [51.73],
    [13.15, 96.70],
    [35.53, 6.62, 59.42],
    [41.69, 5.53, 45.27, 58.88],
    [13.97, 0.25, 32.62, 30.40, 37.50],
    [50.48, 8.15, 51.75, 28.52, 0.97, 64.22],
    [38.63, 10.50, 37.38, 43.62, 0.59, 43.15, 60.08],
]


def ends(immediate, final):
    """A [T, T] matrix of which only the diagonal and the last row are known."""
    matrix = np.full((len(final), len(final)), NAN)
    np.fill_diagonal(matrix, immediate)
    matrix[-1] = final
    return matrix


def triangle(rows):
    """[T, T] with NaN above the diagonal."""
    return np.array([[*row, *[NAN] * (len(rows) - len(row))] for row in rows])


def means(learning, final, count):
    """Any matrix of `count` tasks with these two means: both BWT forms depend on nothing else."""
    immediate = [learning + (learning - final) / (count - 1)] * (count - 1) + [final]
    return ends(immediate, [final] * count)


def test_both_bwt_forms_of_coin_lora_come_from_one_matrix():
    got = summarize(ends(LORA_IMMEDIATE, LORA_FINAL))
    # the eight drops sum to -261.00: over 8 that is -32.625 (published: -32.62), over 7 it is -37.29 (PCLR's row)
    assert got["bwt_coin"] == pytest.approx(-32.62, abs=0.0051)
    assert got["bwt"] == pytest.approx(-37.29, abs=0.005)
    assert got["acc"] == pytest.approx(28.74, abs=0.005)
    assert got["learning_accuracy"] == pytest.approx(61.36, abs=0.005)


def test_both_bwt_forms_of_coin_moelora():
    got = summarize(ends(MOELORA_IMMEDIATE, MOELORA_FINAL))
    assert got["bwt_coin"] == pytest.approx(-25.91, abs=0.005)
    assert got["bwt"] == pytest.approx(-29.61, abs=0.01)
    assert got["acc"] == pytest.approx(37.13, abs=0.005)
    assert got["learning_accuracy"] == pytest.approx(63.04, abs=0.005)


@pytest.mark.parametrize(
    ("rows", "acc", "maa", "bwt"), [(LORA_TRIANGLE, 29.80, 32.07, -28.54), (MOELORA_TRIANGLE, 33.42, 38.39, -27.80)]
)
def test_stored_triangles_give_the_recorded_aggregates(rows, acc, maa, bwt):
    got = summarize(triangle(rows))
    assert got["acc"] == pytest.approx(acc, abs=0.0051)
    assert got["maa"] == pytest.approx(maa, abs=0.0051)
    # the recorded aggregate is CoIN's form, over T = 7
    assert got["bwt_coin"] == pytest.approx(bwt, abs=0.0051)


def test_max_form_forgetting_of_the_stored_lora_triangle():
    # 49.99-28.74, 96.05-10.25, 56.40-36.78, 55.45-32.45, 31.27-0.83, 62.20-42.50:
    # every column peaks on the diagonal, so F equals -BWT = 199.81 / 6
    got = summarize(triangle(LORA_TRIANGLE))
    assert got["forgetting"] == pytest.approx(199.81 / 6, abs=1e-9)
    assert got["forgetting"] == pytest.approx(-got["bwt"], abs=1e-9)


@pytest.mark.parametrize(
    ("name", "count", "learning", "final", "bwt"),
    [
        ("UCIT DISCO", 6, 75.87, 69.66, -7.45),
        ("UCIT DISCO, independent run", 6, 74.71, 67.32, -8.87),
        ("DCL LoRA", 5, 64.98, 53.00, -14.97),
        ("DCL MoELoRA", 5, 64.94, 54.78, -12.70),
        ("DCL CL-MoE", 5, 66.06, 54.88, -13.96),
        ("DCL HiDe", 5, 60.77, 55.31, -6.82),
        ("DCL SEFE", 5, 65.01, 58.51, -8.13),
        ("DCL DISCO", 5, 64.43, 59.26, -6.46),
    ],
)
def test_mcitlib_rows_divide_by_t_minus_1(name, count, learning, final, bwt):
    got = summarize(means(learning, final, count))
    assert got["learning_accuracy"] == pytest.approx(learning)
    assert got["acc"] == pytest.approx(final)
    # two inputs rounded to 0.01 can move the product by 0.0125, the published value by 0.005
    assert got["bwt"] == pytest.approx(bwt, abs=0.0175), name


def test_disco_final_row_averages_to_its_mfn():
    final = [87.43, 93.07, 46.96, 68.13, 65.70, 56.69]
    first_five = (75.87 * 6 - final[-1]) / 5
    got = summarize(ends([first_five] * 5 + [final[-1]], final))
    assert got["acc"] == pytest.approx(69.66, abs=0.005)
    assert got["bwt"] == pytest.approx(-7.45, abs=0.005)


HAND = [
    [10.0, 20.0, 30.0],  # zero-shot
    [60.0, 25.0, 35.0],  # after task 1
    [70.0, 80.0, 45.0],  # after task 2
    [40.0, 50.0, 90.0],  # after task 3
]


def test_three_tasks_worked_by_hand():
    got = summarize(HAND, individual=[64, 86, 99], joint=[70, 80, 90])
    expected = {
        "acc": 60.0,  # (40 + 50 + 90) / 3
        "maa": 65.0,  # (60 + (70 + 80) / 2 + 60) / 3 = (60 + 75 + 60) / 3
        "bwt": -25.0,  # ((40 - 60) + (50 - 80)) / 2
        "bwt_coin": -50 / 3,  # the same sum over 3
        "forgetting": 30.0,  # ((max(60, 70) - 40) + (80 - 50)) / 2
        "learning_accuracy": 230 / 3,  # (60 + 80 + 90) / 3
        "fwt": 10.0,  # ((25 - 20) + (45 - 30)) / 2
        "transfer": 32.5,  # (25 + (35 + 45) / 2) / 2
        "intransigence": 19 / 3,  # ((64 - 60) + (86 - 80) + (99 - 90)) / 3
        "retention": 0.75,  # 60 / 80
        "retention_individual": 60 / 83,  # 60 / ((64 + 86 + 99) / 3)
        "zero_shot": 20.0,  # (10 + 20 + 30) / 3
    }
    assert got.keys() == expected.keys()
    for name, value in expected.items():
        assert got[name] == pytest.approx(value, abs=1e-12), name


def test_matrix_without_zero_shot_row_loses_only_what_needs_it():
    with_row, without = summarize(HAND), summarize(HAND[1:])
    for name in ("fwt", "zero_shot"):
        assert math.isnan(without.pop(name))
        with_row.pop(name)
    np.testing.assert_equal(without, with_row)


def test_lower_triangle_defines_everything_but_the_upper_metrics():
    lower = [[NAN if i > max(j - 1, 0) and j else cell for i, cell in enumerate(row)] for j, row in enumerate(HAND)]
    full, seen = summarize(HAND), summarize(lower)
    for name in ("acc", "maa", "bwt", "bwt_coin", "forgetting", "learning_accuracy"):
        assert seen[name] == full[name]
    assert math.isnan(seen["fwt"])
    assert math.isnan(seen["transfer"])


NEEDED = {  # cells [row][column] of HAND that a metric reads
    "acc": {(3, 0), (3, 1), (3, 2)},
    "learning_accuracy": {(1, 0), (2, 1), (3, 2)},
    "bwt": {(1, 0), (2, 1), (3, 0), (3, 1)},
    "bwt_coin": {(1, 0), (2, 1), (3, 0), (3, 1), (3, 2)},
    "maa": {(1, 0), (2, 0), (2, 1), (3, 0), (3, 1), (3, 2)},
    "forgetting": {(1, 0), (2, 0), (2, 1), (3, 0), (3, 1)},
    "fwt": {(0, 1), (0, 2), (1, 1), (2, 2)},
    "transfer": {(1, 1), (1, 2), (2, 2)},
}


@pytest.mark.parametrize("row", range(4))
@pytest.mark.parametrize("column", range(3))
def test_a_missing_cell_makes_exactly_the_metrics_that_need_it_nan(row, column):
    table = [[None if (j, i) == (row, column) else cell for i, cell in enumerate(line)] for j, line in enumerate(HAND)]
    full, got = summarize(HAND), summarize(table)
    for name, cells in NEEDED.items():
        if (row, column) in cells:
            assert math.isnan(got[name]), name
        else:
            assert got[name] == full[name], name


def test_without_bounds_the_bound_metrics_are_nan():
    got = summarize(HAND, joint=[70, None, 90])
    assert all(math.isnan(got[name]) for name in ("intransigence", "retention", "retention_individual"))
    assert math.isnan(summarize(HAND, joint=[0, 0, 0])["retention"])


def test_one_task():
    got = summarize([[12.0], [70.0]], individual=[75.0], joint=[80.0])
    assert (got["acc"], got["maa"], got["learning_accuracy"], got["bwt_coin"]) == (70.0, 70.0, 70.0, 0.0)
    assert (got["intransigence"], got["retention"]) == (5.0, 0.875)
    assert all(math.isnan(got[name]) for name in ("bwt", "forgetting", "fwt", "transfer"))


def direct(table, individual, joint):
    """The formulas, written out with loops and 1-based indices."""
    count = len(table[0])

    def a(j, i):
        return table[j][i - 1]

    drops = [a(count, i) - a(i, i) for i in range(1, count + 1)]
    prefix = [sum(a(j, i) for i in range(1, j + 1)) / j for j in range(1, count + 1)]
    peaks = [max(a(j, i) for j in range(i, count)) for i in range(1, count)]
    before = [sum(a(j, i) for j in range(1, i)) / (i - 1) for i in range(2, count + 1)]
    last = sum(table[count]) / count
    return {
        "acc": last,
        "maa": sum(prefix) / count,
        "bwt": sum(drops[:-1]) / (count - 1),
        "bwt_coin": sum(drops) / count,
        "forgetting": sum(peak - a(count, i) for i, peak in enumerate(peaks, start=1)) / (count - 1),
        "learning_accuracy": sum(a(i, i) for i in range(1, count + 1)) / count,
        "fwt": sum(a(i - 1, i) - a(0, i) for i in range(2, count + 1)) / (count - 1),
        "transfer": sum(before) / (count - 1),
        "intransigence": sum(individual[i - 1] - a(i, i) for i in range(1, count + 1)) / count,
        "retention": last / (sum(joint) / count),
        "retention_individual": last / (sum(individual) / count),
        "zero_shot": sum(table[0]) / count,
    }


@pytest.mark.parametrize("count", [2, 3, 5, 8])
def test_against_slow_direct_formulas_and_identities(count):
    rng = np.random.default_rng(count)
    for _ in range(20):
        table = rng.uniform(0, 100, (count + 1, count))
        single, joint = rng.uniform(1, 100, count), rng.uniform(1, 100, count)
        got = summarize(table, single, joint)
        assert got == pytest.approx(direct(table.tolist(), single, joint), rel=1e-12, abs=1e-9)
        assert got["bwt_coin"] == pytest.approx(got["acc"] - got["learning_accuracy"], abs=1e-9)
        assert got["bwt"] == pytest.approx(got["bwt_coin"] * count / (count - 1), abs=1e-9)
        assert got["forgetting"] >= -got["bwt"] - 1e-9


@pytest.mark.parametrize("count", [2, 4, 8])
def test_constant_matrix_forgets_nothing(count):
    got = summarize(np.full((count + 1, count), 37.5), [37.5] * count, [37.5] * count)
    for name in ("bwt", "bwt_coin", "forgetting", "fwt", "intransigence"):
        assert got[name] == 0.0
    for name in ("acc", "maa", "learning_accuracy", "transfer"):
        assert got[name] == 37.5
    assert got["retention"] == 1.0


def test_adding_a_constant_moves_levels_and_leaves_differences():
    rng = np.random.default_rng(0)
    table = rng.uniform(0, 50, (6, 5))
    before, after = summarize(table), summarize(table + 10)
    for name in ("bwt", "bwt_coin", "forgetting", "fwt"):
        assert after[name] == pytest.approx(before[name], abs=1e-9)
    for name in ("acc", "maa", "learning_accuracy", "transfer"):
        assert after[name] == pytest.approx(before[name] + 10, abs=1e-9)


def test_forgetting_per_task_in_the_middle_of_a_run():
    _, trained = split_rows(HAND)
    # after task 2: task 1 peaked at 60 (only row 1 counts) and stands at 70; after task 3: peaks 70 and 80
    np.testing.assert_equal(forgetting_per_task(trained, after=2), [-10.0, NAN, NAN])
    np.testing.assert_equal(forgetting_per_task(trained), [30.0, 30.0, NAN])
    np.testing.assert_equal(forgetting_per_task(trained, after=1), [NAN, NAN, NAN])
    with pytest.raises(ConfigError, match="after=4: the matrix has rows 1 to 3"):
        forgetting_per_task(trained, after=4)


def test_input_is_not_changed():
    table = np.array(HAND)
    summarize(table)
    np.testing.assert_array_equal(table, HAND)


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        ([[1.0, 2.0]], "1 rows x 2 columns"),
        ([[1.0, 2.0]] * 4, "4 rows x 2 columns"),
        ([[]], "1 rows x 0 columns"),
        ([], "rows of"),
        ([1.0, 2.0], "not a table"),
        ([[1.0, 2.0], [1.0]], r"rows of \[1, 2\] cells"),
        ([[1.0, math.inf], [1.0, 2.0]], r"scores\[0\]\[1\]: inf is not finite"),
        ([[1.0, 2.0], ["x", 2.0]], r"scores\[1\]\[0\]: 'x' is not a number"),
        ([[1.0, 2.0], [True, 2.0]], r"scores\[1\]\[0\]: True is not a number"),
    ],
)
def test_wrong_scores_are_refused(scores, message):
    with pytest.raises(ConfigError, match=message):
        summarize(scores)


def test_wrong_bounds_are_refused():
    with pytest.raises(ConfigError, match="joint: 2 values for 3 tasks"):
        summarize(HAND, joint=[1.0, 2.0])
    with pytest.raises(ConfigError, match=r"individual\[1\]: -inf is not finite"):
        summarize(HAND, individual=[1.0, -math.inf, 2.0])
