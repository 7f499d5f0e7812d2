"""The plan on the terminal: readable, and within 80 columns."""

import io

from rich.console import Console

from coin_lightning.reporting.names import short
from coin_lightning.reporting.plan_table import run_plan

RATES = {"adapter": {"first": 5e-5, "warm": 2e-4, "middle": 1e-4, "last": 1.27e-9}}
FROM_ZERO = {"adapter": {"first": 0.0, "warm": 2e-4, "middle": 2e-4, "last": 2e-4}}


def train_task(name: str, **values) -> dict:
    task = {
        "experience": 1, "task": name, "short": short(name), "samples": 166043, "epochs": 1, "batch_size": 14,
        "accumulation": 8, "devices": 8, "global_batch": 896, "steps": 186, "warmup_steps": 6, "rates": RATES,
    }  # fmt: skip
    return {**task, **values}


PLAN = {
    "schedule": "cosine", "warmup_ratio": 0.03, "adapted_layers": 224, "parameters": 7_000_000_000,
    "groups": [{"name": "adapter", "lr": 2e-4, "tensors": 672, "parameters": 1},
               {"name": "projector", "lr": 2e-5, "tensors": 4, "parameters": 1}],
    "trainable": {"adapter": 319_815_680, "router": 9_109_504, "projector": 20_979_712},
    "tasks": [train_task("ocrvqa"), train_task("gqa", epochs=2, warmup_steps=None, rates=FROM_ZERO)],
}  # fmt: skip


def show(plan: dict) -> list[str]:
    out = io.StringIO()
    Console(file=out, width=80).print(run_plan(plan))
    return out.getvalue().splitlines()


def test_it_says_what_is_trained_at_which_rates():
    text = " ".join(" ".join(show(PLAN)).split())
    assert "adapter 320 M, router 9.11 M, projector 21 M; together 350 M, 5 % of 7 G; 224 adapted layers" in text
    assert "rate of adapter 0.0002 (672 tensors)" in text
    assert "rate of projector 2e-05 (4 tensors)" in text
    assert "schedule cosine, warm-up 3 % of the steps" in text


def test_a_task_has_samples_batch_steps_and_rates_in_one_line():
    lines = show(PLAN)
    assert all(len(line) <= 80 for line in lines)
    ocr, gqa = (next(line for line in lines if line.strip().startswith(name)) for name in ("OCR", "GQA"))
    assert ocr.split() == ["OCR", "166043", "14x8x8=896", "186", "6", "5e-5", "2e-4", "1e-4", "1.3e-9"]
    assert gqa.split()[1:5] == ["166043x2", "14x8x8=896", "186", "-"]
    assert gqa.split()[5:] == ["0", "2e-4", "2e-4", "2e-4"]
    assert "…" not in "".join(lines)


def test_without_training_it_says_so():
    assert "Nothing is trained" in "".join(show({**PLAN, "tasks": []}))
    constant = {**PLAN, "schedule": "constant", "warmup_ratio": None}
    assert any("constant, no warm-up" in line for line in show(constant))
