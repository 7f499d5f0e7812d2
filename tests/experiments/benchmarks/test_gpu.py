"""The benchmark of one GPU, in its toy sizes, and the shape that it measures."""

import json
from functools import partial
from itertools import pairwise

import pytest
import torch
from transformers import AutoModelForImageTextToText

from coin_lightning.adapters.build import moelora


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """Where the result goes, once for all tests."""
    return tmp_path_factory.mktemp("gpu") / "out.json"


@pytest.fixture
def result(script, found, capsys):
    if not found.exists():
        small = [
            "--compare-samples",
            "2",
            "--batch",
            "2",
            "3",
            "--rank",
            "8",
            "--rounds",
            "3",
            "--rounds-of-answers",
            "1",
        ]
        answers = ["--new-tokens", "2", "--answer-batch", "2", "--alone", "1"]
        script("gpu").main(["--toy", *small, *answers, "--out", str(found)])
        printed = capsys.readouterr().out
        assert "x Trainer" in printed
        assert "of the peak" in printed
    return json.loads(found.read_text())


def test_figures_follow_from_time_and_work(result):
    assert [(case["samples"], case["checkpointing"]) for case in result["scaling"]] == [
        (2, False), (3, False), (2, True), (3, True),
    ]  # fmt: skip
    for case in result["scaling"]:
        assert case["length"] == 4 + 96
        assert case["tokens_per_second"] == pytest.approx(case["samples"] * 100 / case["seconds_per_step"])
        work = sum(case["flops_per_step"].values())
        assert case["flops_per_second"] == pytest.approx(work / case["seconds_per_step"])


def test_sides_learn_and_are_compared_with_the_trainer(result):
    (turns,) = result["compared"]
    times = turns["milliseconds_per_step"]
    assert len(times) == 3
    assert all(seconds > 0 for seconds in times.values())
    for losses in turns["losses"].values():
        assert len(losses) == 3 + 1  # the rounds and one that warms up
        assert losses[-1] < losses[0]


def test_answers_are_counted_per_second(result):
    (case,) = result["answers"]
    assert case["new_tokens"] == 2
    rates = case["answers_per_second"]
    assert case["best_over_alone"] == pytest.approx(rates["batch 2"] / rates["one by one"])


def test_checkpointing_is_really_on_when_it_is_measured(script):
    """Fewer bytes are kept, the gradients stay."""
    gpu, shapes, harness = script("gpu"), script("gpu_shapes"), script("harness")
    module = shapes.build(moelora(8, 16, 4, 0.0), "cpu", True, 0)
    step = gpu.step_of(module, 2, gpu.parse(["--toy"]))
    batch, weights = shapes.train_batch(module, step), list(module.trainable().values())
    kept, gradients = [], []
    for on in (False, True):
        gpu.checkpointing(module, on)
        kept.append(harness.saved_bytes(partial(gpu.loss_of, module, batch, gpu.Recipe()), weights))
        gradients.append(torch.autograd.grad(gpu.loss_of(module, batch, gpu.Recipe()), weights))
    assert kept[1] < 0.5 * kept[0]
    assert all(torch.allclose(one, two, atol=1e-6) for one, two in zip(*gradients, strict=True))


def test_refuses_without_a_gpu(script, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit) as ended:
        script("gpu").main(["--out", str(tmp_path / "out.json")])
    assert ended.value.code == 2
    assert "--toy" in capsys.readouterr().err
    assert not (tmp_path / "out.json").exists()


@pytest.mark.parametrize(
    ("shape", "weights"), [("llava_7b", 7.063e9), ("qwen3_vl_4b", 4.438e9), ("qwen3_vl_8b", 8.767e9)]
)
def test_shapes_have_the_size_of_the_published_models(script, shape, weights):
    """Counts of the published safetensors files."""
    config = script("gpu_shapes").SHAPES[shape].config(3)
    with torch.device("meta"):
        model = AutoModelForImageTextToText.from_config(config)
    assert sum(parameter.numel() for parameter in model.parameters()) == pytest.approx(weights, rel=1e-3)


def test_a_qwen3_vl_is_measured_by_the_same_code(script, tmp_path):
    words = "--compare-samples 2 --batch 2 --rank 8 --rounds 1 --rounds-of-answers 1 --new-tokens 2 --answer-batch 2"
    out = tmp_path / "out.json"
    script("gpu").main(["--toy", "--shape", "qwen3_vl_4b", *words.split(), "--alone", "1", "--out", str(out)])
    found = json.loads(out.read_text())
    assert (found["backbone"], found["image_tokens"]) == ("toy of Qwen3-VL-4B shape", 4)
    losses = found["compared"][0]["losses"]
    assert all(one[-1] < one[0] for one in losses.values())


def test_committed_figures_say_where_they_come_from(script):
    committed = json.loads((script("harness").RESULTS / "gpu.json").read_text())
    assert committed["machine"]["gpu"]
    assert committed["measured_peak_flops_per_second"] <= committed["data_sheet_peak_flops_per_second"]
    rates = [case["flops_per_second"] for case in committed["scaling"]]
    assert all(0 < rate < committed["measured_peak_flops_per_second"] for rate in rates)
    assert [turns["samples"] for turns in committed["compared"]] == [4, 16]
    kept = [case["bytes_beside_weights"] for case in committed["scaling"] if not case["checkpointing"]]
    assert all(one < two for one, two in pairwise(kept))
