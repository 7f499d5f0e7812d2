"""`backbone.fast`: whether to take ways that are faster and round differently.

These are adapter layers computed in groups (`adapters.shared_input`), our own greedy loop (`greedy`), and in training
on a CPU our own attention (`attention`).
"""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator


def _word(choice: Any) -> Any:
    return "off" if choice is False else choice  # what YAML makes of the word


Fast = Annotated[Literal["auto", "off"], BeforeValidator(_word)]
"""`auto` or `off`, as annotation of a loader's option."""
