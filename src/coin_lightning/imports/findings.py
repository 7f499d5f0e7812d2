"""What is missing or wrong in imported files: nothing of it is filled in, all of it is said."""

from collections.abc import Iterator


class Findings:
    """Sentences, each with the places it is true of."""

    def __init__(self) -> None:
        self._places: dict[str, list[str]] = {}

    def add(self, what: str, where: str = "") -> None:
        """Note that `what` is so at `where`."""
        self._places.setdefault(what, []).append(where)

    def lines(self) -> list[str]:
        """One line for each sentence, in the order in which they came up."""
        return [what + (f": {'; '.join(where)}" if any(where) else "") for what, where in self._places.items()]

    def __iter__(self) -> Iterator[str]:
        return iter(self.lines())
