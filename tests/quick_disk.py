"""Waiting until files are on the disk takes a sixth of a short run, and no test cuts the power."""

import os


def no_loss_of_power() -> None:
    """From now on, in this process and its forks: what is written is there for every process, as after any kill."""
    os.fsync = lambda descriptor: None
