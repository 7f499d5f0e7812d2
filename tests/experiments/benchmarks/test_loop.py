"""Loop benchmark: the bare loop takes exactly the steps that our fit takes."""

import json

import pytest


def test_both_sides_take_the_same_steps(script, tiny, tmp_path, capsys):
    script("loop").main(["--steps", "3", "--rounds", "2", *tiny("vqav2"), "adapter.dropout=0"])
    content = json.loads((tmp_path / "out.json").read_text())
    result = content["results"]
    assert result["steps"] == 3
    assert result["losses"]["our fit"] == pytest.approx(result["losses"]["bare loop"], rel=1e-5)
    assert len(result["losses"]["our fit"]) == 3
    assert result["losses"]["our fit"][0] != result["losses"]["our fit"][2]  # it learns
    seconds = result["seconds"]
    quotients = sorted(a / b for a, b in zip(seconds["our fit"], seconds["bare loop"], strict=True))
    assert content["ours_over_bare"] == pytest.approx(sum(quotients) / 2)
    assert "ms per step" in capsys.readouterr().out
