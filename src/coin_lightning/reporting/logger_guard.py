"""A logger that fails is reported once, and the run goes on without it: no curve is worth a training."""

from collections.abc import Callable
from typing import Any

from lightning.pytorch.loggers import Logger

from coin_lightning.errors import CoinLightningError

CALLS = ("log_metrics", "log_hyperparams", "log_graph", "save", "finalize", "after_save_checkpoint")
"""What Lightning's Trainer calls."""


class Silent(Logger):
    """Stands where a logger could not be made: the rates' monitor wants one."""

    name = version = "silent"

    def log_metrics(self, metrics: Any, step: int | None = None) -> None:
        """Nothing."""

    def log_hyperparams(self, params: Any, *args: Any, **options: Any) -> None:
        """Nothing."""


class Guard:
    """Makes the calls of one logger until one fails; later ones are left out.

    Args:
        name: of the logger in the config.
        tell: gets the one line about it.
    """

    def __init__(self, name: str, tell: Callable[[str], None]) -> None:
        self.name, self.tell, self.failed = name, tell, False

    def __call__(self, call: Callable[..., Any], *args: Any, **options: Any) -> Any:
        """What the call gives, or None; deliberate errors come through."""
        if self.failed:
            return None
        try:
            return call(*args, **options)
        except CoinLightningError:
            raise
        except Exception as error:  # whatever a service or its client raises
            self.failed = True
            reason = (str(error).strip().splitlines() or ["without a message"])[0]
            self.tell(f"logger {self.name}: {type(error).__name__}: {reason}; the run goes on without it")
            return None

    def logger(self, make: Callable[..., Logger], *args: Any) -> Logger:
        """A logger whose calls are guarded; one that does nothing where it cannot be made and started.

        Args:
            make: the factory.
            args: for it.
        """

        def started() -> Logger:
            made = make(*args)
            getattr(made, "experiment", None)  # Lightning starts it by this, outside every call
            return made

        logger: Any = self(started) or Silent()
        for name in CALLS:
            setattr(logger, name, self._guarded(getattr(logger, name)))
        logger.guard = self
        return logger

    def _guarded(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def guarded(*args: Any, **options: Any) -> Any:
            return self(call, *args, **options)

        return guarded
