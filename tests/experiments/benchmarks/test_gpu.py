"""The benchmark on the shape of LLaVA-1.5-7B, in its toy sizes."""

import json

import pytest
import torch


@pytest.fixture
def result(script, tmp_path, capsys):
    arguments = ["--tiny", "--batch", "2", "3", "--rank", "8", "--steps", "3", "--warmup", "0", "--peak-tflops", "1"]
    script("llava_7b_shape").main([*arguments, "--out", str(tmp_path / "out.json")])
    assert "share of peak" in capsys.readouterr().out
    return json.loads((tmp_path / "out.json").read_text())


def test_figures_follow_from_time_and_work(result):
    assert [case["rows"] for case in result["results"]] == [2, 3]
    for case in result["results"]:
        assert case["length"] == 4 + 96
        assert case["tokens_per_second"] == pytest.approx(case["rows"] * 100 / case["seconds_per_step"])
        work = sum(case["flops_per_step"].values())
        assert case["share_of_peak"] == pytest.approx(work / case["seconds_per_step"] / 1e12)
        assert case["losses"][2] < case["losses"][0]


def test_refuses_without_a_gpu(script, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit) as ended:
        script("llava_7b_shape").main(["--out", str(tmp_path / "out.json")])
    assert ended.value.code == 2
    assert "--tiny" in capsys.readouterr().err
    assert not (tmp_path / "out.json").exists()


def test_shape_has_the_size_of_llava_7b(script):
    config = script("llava_7b_shape").shape_7b(3)
    with torch.device("meta"):
        model = __import__("transformers").LlavaForConditionalGeneration(config)
    assert sum(parameter.numel() for parameter in model.parameters()) == pytest.approx(7.063e9, rel=1e-3)
