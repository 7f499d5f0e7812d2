"""Random state: seeded per experience, saved with mid-task checkpoints."""

from typing import Any

import lightning as L
import numpy as np
import torch


def experience_seed(seed: int, position: int, rank: int = 0) -> int:
    """What an experience's random numbers begin with, in a process: below 2**32, as NumPy takes it.

    Sums would give seed 0 at task 2 the numbers of seed 1 at task 1; NumPy's `SeedSequence` mixes them, so that runs
    of neighbouring seeds, tasks and processes are independent.
    """
    return int(np.random.SeedSequence((seed, position, rank)).generate_state(1)[0])


def seed_everything(seed: int) -> None:
    """Seed Python, NumPy and PyTorch, loader workers included."""
    L.seed_everything(seed, workers=True, verbose=False)


def seed_rank(seed: int, position: int, rank: int) -> None:
    """Give a process behind the first its own random numbers, where all were seeded alike; the first keeps its own."""
    if rank:
        torch.manual_seed(experience_seed(seed, position, rank))


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
