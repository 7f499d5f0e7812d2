"""What the terminal says of a comparison beside its tables."""

from collections.abc import Iterator

from rich.text import Text

from coin_lightning.reporting.compared import Compared
from coin_lightning.reporting.glossary import explain
from coin_lightning.reporting.names import signed


def comparison_words(compared: Compared) -> Iterator[Text]:
    """Notes, tests and power, a line each."""
    for note in compared.notes:
        yield Text(note)
    if compared.apart:
        yield Text("Runs of one method that are not averaged:", style="bold")
        yield from (Text(f"  {line}") for line in compared.apart)
    for tests in compared.tests:
        yield Text(f"{explain(tests.key).label} against {tests.baseline}, runs paired by seed and order:", style="bold")
        for line in tests.lines:
            numbers = ""
            if line.difference is not None:
                numbers = (
                    f"{signed(line.difference.mean)} [{line.interval}], p {line.difference.p:.2g}, "
                    f"Holm {line.adjusted:.2g}: "
                )
            yield Text(f"  {line.label}: {numbers}{line.verdict}")
        yield Text(f"  {tests.least}")
    if compared.power:
        yield Text(compared.power)
