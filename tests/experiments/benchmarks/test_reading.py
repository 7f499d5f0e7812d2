"""Reading benchmark: both processes read the same file, and the figures are those of their phases."""

import json

import pytest


def test_both_sides_reach_their_first_batch(in_forks, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    out = tmp_path / "out.json"
    options = ["--samples", "300", "--images", "20", "--rounds", "1", "--backbone", "tiny", "--out", str(out)]
    in_forks("reading").main(options)
    content = json.loads(out.read_text())
    (ours,), (theirs,) = content["results"]["ours"], content["results"]["datasets"]
    assert ours["samples"] == theirs["samples"] == 300
    assert len(ours["ids"]) == len(theirs["ids"]) == ours["shape"][0] == 8
    assert list(ours["wall"]) == ["imports", "tokenizer", "samples", "survey", "checks", "first batch"]
    assert list(theirs["wall"]) == ["imports", "tokenizer", "samples", "map", "first batch"]
    for side in (ours, theirs):
        assert sorted(side["wall"].values()) == list(side["wall"].values())
        assert side["peak_bytes"] > 50e6
    assert content["seconds"] == ours["wall"]["first batch"]
    assert content["ours_over_datasets"] == pytest.approx(content["seconds"] / theirs["wall"]["first batch"])
    assert "start to first batch" in capsys.readouterr().out
