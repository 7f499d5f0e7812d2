"""Grids of both variants, out of `scores.json` files new and old."""

from coin_lightning.continual.variant_grids import variant_grids, variant_matrix


def row(corrected: dict, reference: dict, differing: dict, scorer: str = "corrected") -> dict:
    variants = {"corrected": {"scores": corrected}, "reference": {"scores": reference}}
    counts = dict.fromkeys(corrected, 4)
    own = variants[scorer]["scores"]
    return {"scores": own, "counts": counts, "scorer": scorer, "variants": variants, "differing": differing}


SCORES = {
    0: row({"a": 10.0, "b": 20.0}, {"a": 30.0, "b": 20.0}, {"a": 2, "b": 0}),
    1: row({"a": 60.0}, {"a": 90.0}, {"a": 3}),
    2: {"scores": {"a": 40.0, "b": 80.0}, "counts": {"a": 4, "b": 4}, "scorer": "corrected"},
}


def test_grids_have_nulls_where_a_variant_was_not_scored():
    grids = variant_grids(["a", "b"], SCORES)
    assert grids["variants"]["corrected"]["scores"] == [[10.0, 20.0], [60.0, None], [40.0, 80.0]]
    assert grids["variants"]["reference"]["scores"] == [[30.0, 20.0], [90.0, None], [None, None]]
    assert grids["differing"] == [[2, 0], [3, None], [None, None]]


def test_metrics_are_those_of_each_grid():
    variants = variant_grids(["a", "b"], SCORES)["variants"]
    assert variants["corrected"]["metrics"]["acc"] == 60.0  # (40 + 80) / 2
    assert variants["corrected"]["metrics"]["bwt"] == -20.0  # 40 - 60
    assert variants["reference"]["metrics"]["acc"] is None


def test_a_joint_run_has_metrics_of_its_end_alone():
    scores = {0: SCORES[0], 2: row({"a": 40.0, "b": 80.0}, {"a": 50.0, "b": 90.0}, {"a": 1, "b": 1})}
    assert variant_matrix(["a", "b"], scores, "reference", "joint").rows == ("zero_shot", "a", "joint")
    metrics = variant_grids(["a", "b"], scores, "joint")["variants"]["reference"]["metrics"]
    assert (metrics["acc"], metrics["bwt"]) == (70.0, None)


def test_nothing_scored_gives_empty_grids():
    assert variant_grids(["a"], {})["differing"] == [[None], [None]]
