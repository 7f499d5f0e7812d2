"""Memory benchmark: two processes on the same samples; sizes are those of the files."""

import json

import pytest


def test_both_processes_train_the_same_samples(in_forks, tiny, tmp_path, capsys):
    in_forks("memory").main(["--steps", "1", *tiny("scienceqa")])
    content = json.loads((tmp_path / "out.json").read_text())
    ours, theirs = content["results"]["ours"], content["results"]["trainer"]
    assert ours["samples"] == theirs["samples"]
    assert len(ours["samples"]) == 4
    for side in (ours, theirs):
        assert side["peak_bytes"] >= side["bytes_before"] > 50e6  # an interpreter with torch
        assert side["checkpoint_bytes"] == sum(side["checkpoint_files"].values()) > 0
    assert set(ours["checkpoint_files"]) >= {"adapter_config.json", "adapter_model.safetensors"}
    assert not any("optimizer" in name for name in ours["checkpoint_files"])
    assert any(name.endswith("optimizer.pt") for name in theirs["checkpoint_files"])
    assert content["peak_ours_over_trainer"] == pytest.approx(ours["peak_bytes"] / theirs["peak_bytes"])
    assert "checkpoint per task" in capsys.readouterr().out


def test_peak_sees_memory_that_is_gone_again_but_not_what_was_before(script):
    torch, memory = pytest.importorskip("torch"), script("memory")
    if torch.cuda.is_available() or memory.resident("VmRSS") is None:
        pytest.skip("counts the resident set of Linux")
    block = torch.ones(60_000_000)
    del block
    before = memory.start_peak()
    assert memory.peak(torch.device("cpu")) < before + 50e6
    block = torch.ones(30_000_000)
    del block
    assert 100e6 < memory.peak(torch.device("cpu")) - before < 200e6
