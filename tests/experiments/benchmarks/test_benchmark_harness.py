"""The helpers of the benchmark scripts, and the layer benchmark on a tiny shape."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

FOLDER = Path(__file__).parents[3] / "experiments" / "benchmarks"


@pytest.fixture
def scripts(monkeypatch):
    """Import a benchmark script by name, as running it does."""
    monkeypatch.syspath_prepend(str(FOLDER))
    loaded = []

    def load(name):
        loaded.append(name)
        return __import__(name)

    yield load
    for name in {*loaded, "harness"}:
        sys.modules.pop(name, None)


def test_every_round_runs_every_side_once_in_turning_order(scripts):
    harness, order = scripts("harness"), []
    sides = {name: (lambda name=name: order.append(name)) for name in "abc"}
    times = harness.interleaved(sides, repeats=3, warmup=1)
    assert {name: len(seconds) for name, seconds in times.items()} == {"a": 3, "b": 3, "c": 3}
    assert "".join(order) == "cab" + "abc" + "bca" + "cab"


def test_no_round_is_begun_that_would_end_too_late_but_the_first(scripts, monkeypatch):
    """By a clock that each side moves on by five seconds."""
    harness, now = scripts("harness"), [0.0]
    clocks = SimpleNamespace(monotonic=lambda: now[0], perf_counter=lambda: now[0])
    monkeypatch.setattr(harness, "time", clocks)
    sides = dict.fromkeys("ab", lambda: now.append(now.pop() + 5.0))
    assert harness.interleaved(sides, repeats=9, warmup=2, limit_s=45.0) == {"a": [5.0] * 4, "b": [5.0] * 4}
    assert harness.interleaved(sides, repeats=9, warmup=2, limit_s=1.0) == {"a": [5.0], "b": [5.0]}
    assert len(harness.interleaved(sides, repeats=9, warmup=2)["a"]) == 9


def test_ratio_is_the_median_of_quotients_not_of_times(scripts):
    times = {"fast": [1.0, 10.0, 1.0], "slow": [3.0, 20.0, 2.0]}
    assert scripts("harness").ratio(times, "slow", "fast") == 2.0
    assert scripts("harness").milliseconds(times["slow"]) == 3000.0


def test_saved_bytes_counts_each_storage_once_and_leaves_out_the_known(scripts):
    x, w = torch.randn(4, 3, requires_grad=True), torch.randn(3, 3, requires_grad=True)
    count = scripts("harness").saved_bytes
    assert count(lambda: (x @ w).tanh(), [x, w]) == 4 * 3 * 4  # tanh keeps its result
    assert count(lambda: x @ w) == (12 + 9) * 4


def test_layer_benchmark_writes_every_figure(scripts, tmp_path, capsys):
    out = tmp_path / "deep" / "layer.json"
    arguments = ["--shapes", "8x12x5x2", "--experts", "1", "4", "--loop-experts", "4", "--rank", "4"]
    scripts("layer").main([*arguments, "--dropout", "0", "0.5", "--out", str(out)])
    result = json.loads(out.read_text())
    case, dropped = result["results"]
    assert case["shape"] == {"d_in": 8, "d_out": 12, "tokens": 5, "repeats": 2}
    assert set(case["milliseconds"]) == {"lora", "ours_1", "ours_4", "loop_4"}
    assert set(case["over_lora"]) == {"1", "4"}
    assert set(case["loop_over_ours"]) == {"4"}
    assert case["saved_bytes_beside_input"]["lora"] == 5 * 4 * 4
    assert case["saved_bytes_beside_input"]["ours_4"] == 5 * (4 + 4) * 4
    assert dropped["saved_bytes_beside_input"]["ours_4"] == 5 * (4 + 4) * 4 + 5 * 8  # and a byte of mask per input
    assert result["machine"]["torch"] == torch.__version__
    assert "MoELoRA E=4" in capsys.readouterr().out


def test_expert_loop_is_the_same_function_as_ours(scripts):
    layer = scripts("layer")
    args = layer.parse(["--rank", "4", "--experts", "2", "--loop-experts", "2"])
    sides = layer.build(layer.Shape(8, 12, 5, 1), args, 0.0)
    ours, loop = sides["ours_2"], sides["loop_2"]
    with torch.no_grad():
        loop.router.weight.copy_(ours.moelora_router["default"])
        for e in range(2):
            down, up = ours.slot("default", e)
            loop.downs[e].weight.copy_(down)
            loop.ups[e].weight.copy_(up.t())
    x = torch.randn(1, 5, 8)
    torch.testing.assert_close(ours(x), loop(x))
