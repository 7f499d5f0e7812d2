"""What a callable takes, asked of the callable itself. `source_signatures` reads the same without importing it."""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from hydra.utils import get_object

from coin_lightning.cli.value_types import hints_of

VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


@dataclass(frozen=True)
class Signature:
    """Options of a callable.

    Attributes:
        options: keywords that it takes; None when it takes any.
        needed: those without a default.
        hints: annotation by option, where it is known.
    """

    options: frozenset[str] | None = frozenset()
    needed: tuple[str, ...] = ()
    hints: Mapping[str, Any] = field(default_factory=dict)


@cache
def imported_signature(target: str) -> Signature:
    """Of the callable that is imported from this dotted name; asked once, and again only after an error.

    Raises:
        ImportError, ValueError: there is none.
    """
    called = get_object(target)
    names = accepted(called)
    parameters = inspect.signature(called).parameters.values()
    needed = tuple(each.name for each in parameters if each.default is each.empty and each.kind not in VARIADIC)
    return Signature(None if names is None else frozenset(names), needed, hints_of(called))


def accepted(called: Any) -> set[str] | None:
    """Keywords that a callable takes; None when it takes any.

    A function with `**options` that says which class it returns hands them on to that class.
    """
    signature = inspect.signature(called)
    names = {name for name, parameter in signature.parameters.items() if parameter.kind not in VARIADIC}
    if all(parameter.kind is not parameter.VAR_KEYWORD for parameter in signature.parameters.values()):
        return names
    result = signature.return_annotation
    known = inspect.isfunction(called) and inspect.isclass(result) and result is not signature.empty
    further = accepted(result) if known else None
    return None if further is None else names | further
