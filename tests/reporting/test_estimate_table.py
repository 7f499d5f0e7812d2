"""The table of an estimate: sizes for readers, sums, and what it must say where they do not hold."""

from typing import Any

import pytest
from rich.console import Console

from coin_lightning.reporting.estimate_table import estimate_table, size, together

MEMORY = {
    "weights": {"bfloat16": 2**30, "int64": 400}, "gradients": 2**20, "ddp_buckets": 0, "optimizer": 2**21,
    "weights_before": 2**20, "activations": 2**30,
}  # fmt: skip


def found(**changed: Any) -> dict[str, Any]:
    target = {
        "device": "gpu", "devices": 1, "precision": "bf16-mixed", "quantization": None, "recomputed": "every_2",
        "length": 64, "backbone": "toy", "strategy": None,
    }  # fmt: skip
    activations = {"task": "gqa", "rows": 2, "length": 64, "head": 2**10, "none": 2**31, "all": 2**29, "every_2": 2**30}
    features = {"bytes_per_image": 2**10, "image_size": [640, 480], "images": 3, "bytes": 3 * 2**10}
    task = {"task": "gqa", "title": "GQA", "batch_size": 2, "accumulation": 3, "devices": 1, "global_batch": 6}
    return {
        "target": {**target, **changed}, "parameters": {"all": 10, "trained": 4, "frozen": 6, "adapter": 4},
        "memory": MEMORY, "features": features, "tasks": [task], "activations": activations,
        "answers": {"rows": 4, "length": 64, "kv_cache": 2**20},
    }  # fmt: skip


def printed(content: dict[str, Any]) -> str:
    console = Console(width=90, force_terminal=False)
    with console.capture() as text:
        console.print(estimate_table(content))
    return " ".join(text.get().split())


@pytest.mark.parametrize(
    ("number", "text"), [(400, "0.4 KiB"), (2**20, "1.0 MiB"), (2**30 - 1, "1024.0 MiB"), (3 * 2**29, "1.50 GiB")]
)
def test_sizes(number: int, text: str) -> None:
    assert size(number) == text


def test_all_parts_are_summed_up_and_other_choices_stand_beside() -> None:
    assert together(MEMORY) == 2**30 + 400 + 2**20 + 2**21 + 2**20 + 2**30
    text = printed(found())
    for line in ("together 2.00 GiB", "gradient_checkpointing=none 3.00 GiB", "gradient_checkpointing=all 1.50 GiB",
                 "640 x 480 pixels 1.0 KiB", "of 3 images at most 3.0 KiB", "GQA 2 3 1 6"):  # fmt: skip
        assert line in text, line
    assert "trainer.strategy" not in text


def test_a_strategy_that_may_shard_is_told() -> None:
    assert "trainer.strategy=fsdp may divide weights" in printed(found(strategy="fsdp"))
    assert "trainer.strategy" not in printed(found(strategy="ddp_find_unused_parameters_true"))
