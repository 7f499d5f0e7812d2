"""Samples on their way to disk: what no reader of CoIN's files would take is kept back and counted."""

from collections.abc import Iterator

from coin_lightning.benchmarks.coin.places import Images
from coin_lightning.benchmarks.coin.raw_sample import Problem, RawSample, Samples
from coin_lightning.errors import DataError

IMAGE_TOKEN = "<image>"
KEPT = 100_000


class Problems:
    """Problem lines of a split: all counted, the first `KEPT` kept, so that memory has a bound."""

    def __init__(self) -> None:
        self.count = 0
        self.listed: list[str] = []

    def add(self, text: str) -> None:
        """Count one, and keep it if there is room."""
        self.count += 1
        if len(self.listed) < KEPT:
            self.listed.append(text)

    def raise_any(self) -> None:
        """Raise DataError with all lines, if there are any."""
        if self.count:
            more = self.count - len(self.listed)
            raise DataError([*self.listed, *([f"... and {more} more that were only counted"] if more else [])])


def screened(
    samples: Samples, origin: str, images: Images, problems: Problems, conversations: bool
) -> Iterator[RawSample]:
    """The samples that can be written; everything else goes to ``problems``.

    Args:
        samples: a reader's stream.
        origin: file that is named in messages.
        conversations: samples with a group become conversations, so only the group's id is written, not theirs.
    """
    seen: set[int] = set()  # hashes: 64 bits take less room than ids, and never collide in practice
    for sample in samples:
        if isinstance(sample, Problem):
            problems.add(sample.text)
            continue
        trouble = _trouble(sample) or images.trouble(sample.image)
        if not trouble and not (conversations and sample.group is not None):
            key = hash(str(sample.id))
            trouble = "the id is used by an earlier sample; ids must be unique" if key in seen else None
            seen.add(key)
        if trouble:
            problems.add(f"{origin} id {sample.id}: {trouble}")
        else:
            yield sample


def _trouble(sample: RawSample) -> str | None:
    if not sample.question.strip():
        return "the question is empty"
    if not sample.answer.strip():
        return "the answer is empty; a model cannot learn to say nothing"
    if IMAGE_TOKEN in sample.question or IMAGE_TOKEN in sample.answer:
        return f"{IMAGE_TOKEN} stands in the question or answer; it marks the place of an image"
    return None
