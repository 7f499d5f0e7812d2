"""Every error the project raises on purpose. Messages name the file, record or config key, value and remedy."""

from collections.abc import Collection, Sequence
from difflib import get_close_matches


class CoinLightningError(Exception):
    """Base of all deliberate errors; the command line prints its text without a traceback."""


class ConfigError(CoinLightningError):
    """A config value is wrong, or two values do not fit together."""


class AssetError(CoinLightningError):
    """A model or image package is missing, altered or cannot be fetched."""


class DataError(CoinLightningError):
    """Records or images of a data set cannot be used.

    Args:
        problems: one line per problem, each naming file and sample. All are kept: a data set is mended in one go.
        limit: how many are printed; the rest is counted.
    """

    def __init__(self, problems: Sequence[str] | str, limit: int = 50) -> None:
        self.problems = [problems] if isinstance(problems, str) else list(problems)
        shown = self.problems[:limit]
        more = len(self.problems) - len(shown)
        lines = [*shown, f"... and {more} more problems"] if more else shown
        head = [] if len(self.problems) == 1 else [f"{len(self.problems)} problems in the data:"]
        super().__init__("\n".join(head + lines))


class RunError(CoinLightningError):
    """A run folder cannot be continued, or training broke a promise (no step ran, weights did not move)."""


class RefusedError(RunError):
    """The folder holds a run of another config, or of other data: what lies there is not this run's."""


class EndedEarlyError(CoinLightningError):
    """A run was ended on purpose, as a trial behind others; nothing is wrong with it, and its command goes on."""


class JudgeError(CoinLightningError):
    """A judge gives no replies: its model cannot be read, its server does not answer, or its budget is spent."""


ON_CPU = ("DefaultCPUAllocator", "can't allocate memory")
"""What PyTorch's own words have in common where the machine has no room; they come as a plain RuntimeError."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory was asked for that is not there: of a device (torch.OutOfMemoryError), or of the machine."""
    if isinstance(error, MemoryError) or "OutOfMemoryError" in type(error).__name__:
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in ON_CPU)


def first_line(error: BaseException) -> str:
    """What an error says in its first line; its class where it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def did_you_mean(name: str, known: Collection[str], prefix: str = "") -> str:
    """`did you mean a or b?` for a message, or an empty text when no known name is near; `prefix` goes before each."""
    near = get_close_matches(name, known, n=3) or get_close_matches(name.lower(), known, n=3)
    return f"did you mean {' or '.join(prefix + each for each in near)}?" if near else ""
