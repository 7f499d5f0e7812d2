import logging
import warnings

import pytest

from coin_lightning.quiet import quiet_libraries

LOGGERS = ("lightning.pytorch.utilities.rank_zero", "lightning.pytorch.accelerators.cuda", "transformers")


@pytest.fixture
def untouched():
    """Undo what `quiet_libraries` does to the process."""
    levels = {name: logging.getLogger(name).level for name in LOGGERS}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


@pytest.mark.usefixtures("untouched")
def test_known_messages_are_silenced_and_others_still_come():
    known = [
        "The 'train_dataloader' does not have many workers which may be a bottleneck.",
        "Experiment logs directory /tmp/x exists and is not empty.",
    ]
    with pytest.raises(UserWarning):
        warnings.warn(known[0], stacklevel=1)
    quiet_libraries()
    for message in known:
        warnings.warn(message, stacklevel=1)
    with pytest.raises(UserWarning, match="loss is nan"):
        warnings.warn("loss is nan", stacklevel=1)


@pytest.mark.usefixtures("untouched")
def test_device_notices_are_silenced_but_errors_pass():
    quiet_libraries()
    for name in LOGGERS:
        assert not logging.getLogger(name).isEnabledFor(logging.WARNING)
        assert logging.getLogger(name).isEnabledFor(logging.ERROR)
