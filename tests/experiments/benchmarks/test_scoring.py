"""The scoring benchmark on a few samples."""

import json

import pytest


def test_answers_are_mixed_and_the_same_each_time(script):
    scoring = script("scoring")
    samples = scoring.records("vqav2", 400, "0/x")
    assert samples == scoring.records("vqav2", 400, "0/x")
    assert {len(sample.reference["answers"]) for sample in samples} == {10}
    assert any(sample.prediction == "" for sample in samples)
    assert max(len(sample.prediction) for sample in samples) > 3000
    assert 0.3 < scoring.get_scorer("vqav2").score(samples).score / 100 < 0.8


def test_every_rule_is_measured(script, tmp_path, capsys):
    out = tmp_path / "scoring.json"
    script("scoring").main(["--records", "40", "--rounds", "1", "--out", str(out)])
    content = json.loads(out.read_text())
    assert sorted(result["task"] for result in content["results"]) == [
        "gqa", "grounding", "imagenet", "ocrvqa", "scienceqa", "textvqa", "vizwiz", "vqav2",
    ]  # fmt: skip
    seconds = [result["seconds"] for result in content["results"]]
    assert all(set(each) == {"corrected", "reference", "both"} and min(each.values()) > 0 for each in seconds)
    slowest = max(each[name] for each in seconds for name in ("corrected", "reference"))
    assert content["slowest"] == pytest.approx(slowest)
    assert "aim: below 5" in capsys.readouterr().out
