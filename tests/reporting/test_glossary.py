"""Every metric of the design is explained."""

from coin_lightning.reporting.glossary import GLOSSARY, explain, ordered, paired

DESIGN = {"acc", "maa", "bwt", "bwt_coin", "forgetting", "learning_accuracy", "fwt", "transfer", "intransigence"}


def test_design_metrics_have_meaning_and_formula() -> None:
    assert set(GLOSSARY) >= DESIGN
    assert all(info.meaning and info.formula and info.better for info in GLOSSARY.values())


def test_judge_and_unknown_metrics() -> None:
    assert explain("judge/bwt").label == "Backward transfer (BWT), by judge"
    assert explain("judge/bwt").show(-3) == "\u22123.0"
    assert explain("retention").show(0.8333) == "0.83"
    assert explain("own_metric").label == "own_metric"


def test_order_is_that_of_the_glossary() -> None:
    assert [key for key, _, _ in ordered({"zzz": 1.0, "bwt": 2.0, "acc": None})] == ["acc", "bwt", "zzz"]


def test_rules_and_judge_are_paired_under_one_name() -> None:
    rows = paired({"judge/acc": 5.0, "acc": 1.0, "bwt": None, "judge/maa": 2.0})
    assert [(key, value, by_judge) for key, _, value, by_judge in rows] == [
        ("acc", 1.0, 5.0), ("maa", None, 2.0), ("bwt", None, None)
    ]  # fmt: skip
