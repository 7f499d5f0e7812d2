"""Training benchmark: both sides get the same samples, compute the same loss, and every figure is written."""

import json

import pytest


@pytest.fixture
def result(script, tiny, tmp_path, capsys):
    script("training").main(["--steps", "2", "--rounds", "2", "--warmup", "0", "--ladder", *tiny("scienceqa", "vqav2")])
    assert "our fit, MoELoRA" in capsys.readouterr().out
    return json.loads((tmp_path / "out.json").read_text())


def test_sides_agree_on_the_loss_and_all_have_times(result, script):
    training = script("training")
    names = {training.TRAINER, *training.STEPS, training.GROUPED, training.MOELORA, training.OURS}
    assert [case["task"] for case in result["results"]] == ["scienceqa", "vqav2"]
    for case in result["results"]:
        losses = case["loss_of_first_batch"]
        assert losses["trainer"] == pytest.approx(losses["ours"], rel=1e-4)
        assert case["samples"] == 8
        assert set(case["seconds"]) == names
        assert all(len(seconds) == 2 and min(seconds) > 0 for seconds in case["seconds"].values())
    rates = result["samples_per_second"]
    assert result["ours_over_trainer"] == pytest.approx(rates[training.OURS] / rates[training.TRAINER])
    assert (result["batch_size"], result["rank"], result["experts"], result["backbone"]) == (4, 8, 8, "tiny")


def test_rates_are_samples_over_the_sum_of_median_seconds(script):
    results = [{"samples": 6, "seconds": {"a": [1.0, 2.0, 9.0]}}, {"samples": 4, "seconds": {"a": [3.0, 3.0, 3.0]}}]
    assert script("training").rates(results) == {"a": 2.0}
