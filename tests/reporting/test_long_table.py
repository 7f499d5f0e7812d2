"""The long table, read back."""

import pandas as pd
import pytest

from coin_lightning.reporting.flip_tables import run_flips
from coin_lightning.reporting.long_table import COLUMNS, write_parquet
from coin_lightning.reporting.overview import group_by_method
from coin_lightning.reporting.run_matrix import load_matrix
from coin_lightning.reporting.sample_scores import SampleReader

TASKS = ("scienceqa", "gqa")


@pytest.fixture
def runs(make_run):
    options = {"tasks": TASKS, "answers": 12, "images": False, "router": False}
    return [load_matrix(make_run(f"r{seed}", seed=seed, **options)) for seed in (1, 2)]


def test_every_value_is_a_record(runs, tmp_path):
    frame = pd.read_parquet(write_parquet(group_by_method(runs), SampleReader(), tmp_path / "out" / "c.parquet"))
    assert list(frame.columns) == list(COLUMNS)
    assert set(frame["order"]) == {"scienceqa > gqa"}
    first = frame[(frame["run"] == str(runs[0].folder)) & (frame["seed"] == 1)]
    cell = first[(first["position"] == 2) & (first["task"] == "scienceqa")].set_index("metric")["value"]
    assert cell["score"] == runs[0].scores[2, 0]
    assert cell["count"] == 12
    flips = run_flips(runs[0], SampleReader()).whole[0]
    assert cell["right_to_wrong"] == cell["right_to_wrong_since_learned"] == flips.lost
    assert cell["flips_by_chance"] == flips.chance
    whole = first[first["task"].isna()].set_index("metric")["value"]
    assert whole["acc"] == runs[0].metrics["acc"]
    assert not frame.duplicated(["run", "position", "task", "metric"]).any()
    assert len(frame[frame["metric"] == "score"]) == 2 * 5  # zero-shot is whole, then the lower triangle


def test_an_unknown_number_of_answers_is_not_none(runs, tmp_path):
    runs[0].counts[2, 0] = 0
    frame = pd.read_parquet(write_parquet(group_by_method(runs[:1]), None, tmp_path / "c.parquet"))
    cell = frame[(frame["position"] == 2) & (frame["task"] == "scienceqa")]
    assert list(cell["metric"]) == ["score"]


def test_without_records_there_are_no_flips(runs, tmp_path):
    frame = pd.read_parquet(write_parquet(group_by_method(runs), None, tmp_path / "c.parquet"))
    assert not frame["metric"].str.contains("right").any()
