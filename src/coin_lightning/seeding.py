"""Random state: seeded per experience, saved with mid-task checkpoints."""

from typing import Any

import lightning as L
import torch

RANK_STRIDE = 1_000_003
"""Between the seeds of two ranks; larger than any number of tasks."""


def seed_everything(seed: int) -> None:
    """Seed Python, NumPy and PyTorch, loader workers included."""
    L.seed_everything(seed, workers=True, verbose=False)


def seed_rank(seed: int, rank: int) -> None:
    """Give a process behind the first its own random numbers, where all were seeded alike; the first keeps its own."""
    if rank:
        torch.manual_seed(seed + RANK_STRIDE * rank)


def random_state() -> dict[str, Any]:
    """State of PyTorch's generators as tensors, which a checkpoint that loads with `weights_only` can hold."""
    state: dict[str, Any] = {"torch": torch.get_rng_state()}
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state()
    return state


def restore_random_state(state: dict[str, Any]) -> None:
    """Undo of `random_state`."""
    torch.set_rng_state(state["torch"].cpu())
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"].cpu())
