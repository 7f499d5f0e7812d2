"""PyTorch looks every five seconds whether loader processes live, and gives them so long to end: tests kill many."""

from torch.utils.data import _utils
from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter

SECONDS = 0.2


def look_often() -> None:
    """From now on, in this process and its forks. What is seen, and what is then done, stays the same."""
    _utils.MP_STATUS_CHECK_INTERVAL = SECONDS
    _utils.worker.MP_STATUS_CHECK_INTERVAL = SECONDS
    _MultiProcessingDataLoaderIter._try_get_data.__defaults__ = (SECONDS,)
