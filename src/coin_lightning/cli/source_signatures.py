"""What a callable takes, as its source says it: a wrong option or value is found before anything heavy is imported.

None, or a hint less, wherever the source does not say it plainly; `signatures` then has the last word.
"""

import ast
from collections.abc import Iterator
from functools import cache
from typing import Any

from coin_lightning.cli.signatures import Signature
from coin_lightning.cli.source_names import Module, UnreadableError, definition, meaning, named

NO_INIT = ("object", "ABC", "Generic", "Protocol")
"""Bases that add no option."""


@cache
def source_signature(target: str) -> Signature | None:
    """Of the callable of this dotted name, as its source says it; None when it says nothing. Nothing is imported.

    Annotations with a class in them are left out: see `source_names.meaning`.
    """
    place, _, name = target.rpartition(".")
    try:
        here, statement = definition(place, name)
        if isinstance(statement, ast.ClassDef):
            return _of_class(here, statement) or Signature()
        return _of_function(here, statement) if isinstance(statement, ast.FunctionDef) else None
    except UnreadableError:
        return None


def _of_function(here: Module, function: ast.FunctionDef) -> Signature:
    """With the options of the class that it says to return, if it hands further ones on."""
    own = _parameters(here, function.args)
    if function.args.kwarg is None or function.returns is None:
        return own
    place, result = named(here, function.returns)
    if not isinstance(result, ast.ClassDef):
        return own
    made = _of_class(place, result) or Signature()
    options = None if made.options is None else made.options | frozenset(_names(function.args))
    return Signature(options, own.needed, {**made.hints, **own.hints})


def _of_class(here: Module, statement: ast.ClassDef) -> Signature | None:
    """Of what makes the class: its `__init__`, its fields or those of a base; None when it has none.

    Raises:
        UnreadableError: something else makes it, or a base cannot be found.
    """
    methods = {each.name: each for each in statement.body if isinstance(each, ast.FunctionDef)}
    dataclass_like = any(_is_dataclass(each) for each in statement.decorator_list)
    if statement.keywords or len(statement.decorator_list) > dataclass_like or "__new__" in methods:
        raise UnreadableError(statement.name)
    if dataclass_like:
        return _of_fields(_fields(here, statement))
    if "__init__" in methods:
        return _parameters(here, methods["__init__"].args, bound=True)
    found = (_of_class(*base) for base in _bases(here, statement))
    return next((each for each in found if each is not None), None)


def _bases(here: Module, statement: ast.ClassDef) -> Iterator[tuple[Module, ast.ClassDef]]:
    for expression in statement.bases:
        base = expression.value if isinstance(expression, ast.Subscript) else expression
        if ast.unparse(base).rpartition(".")[2] in NO_INIT:
            continue
        place, found = named(here, base)
        if not isinstance(found, ast.ClassDef):
            raise UnreadableError(ast.unparse(base))
        yield place, found


Fields = dict[str, tuple[Module, ast.AnnAssign]]


def _fields(here: Module, statement: ast.ClassDef) -> Fields:
    """Fields of a dataclass by name, those of its bases first."""
    found: Fields = {}
    for place, base in reversed(list(_bases(here, statement))):
        found |= _fields(place, base)
    if not any(_is_dataclass(each) for each in statement.decorator_list):
        return found
    for each in statement.body:
        if isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name):
            if "ClassVar" in ast.unparse(each.annotation) or "KW_ONLY" in ast.unparse(each.annotation):
                continue
            found[each.target.id] = here, each
    return {name: place for name, place in found.items() if not _says(place[1].value, "init", False)}


def _of_fields(fields: Fields) -> Signature:
    """Hints are of our own only: what PEFT's dataclasses say of their fields is narrower than what they take."""
    needed = (name for name, (_, each) in fields.items() if each.value is None or _without_default(each.value))
    own = all(here.name.startswith("coin_lightning.") for here, _ in fields.values())
    read = fields.items() if own else ()
    hints = {name: hint for name, (here, each) in read for hint in _meanings(here, each.annotation)}
    return Signature(frozenset(fields), tuple(needed), hints)


def _parameters(here: Module, arguments: ast.arguments, bound: bool = False) -> Signature:
    """Of a function; `bound` leaves out the first parameter."""
    plain = [*arguments.posonlyargs, *arguments.args]
    required = plain[: len(plain) - len(arguments.defaults)]
    pairs = zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    required = [*required[bound:], *(each for each, default in pairs if default is None)]
    every = [*plain[bound:], *arguments.kwonlyargs]
    hints = {each.arg: hint for each in every for hint in _meanings(here, each.annotation)}
    options = None if arguments.kwarg is not None else frozenset(each.arg for each in every)
    return Signature(options, tuple(each.arg for each in required), hints)


def _names(arguments: ast.arguments) -> list[str]:
    return [each.arg for each in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)]


def _meanings(here: Module, annotation: ast.expr | None) -> list[Any]:
    """What an annotation means, in a list that is empty when that cannot be said."""
    try:
        return [] if annotation is None else [meaning(here, annotation)]
    except UnreadableError:
        return []


def _is_dataclass(decorator: ast.expr) -> bool:
    called = decorator.func if isinstance(decorator, ast.Call) else decorator
    return ast.unparse(called) in ("dataclass", "dataclasses.dataclass")


def _says(value: ast.expr | None, keyword: str, constant: object) -> bool:
    """Whether a field is `field(<keyword>=<constant>)`."""
    given = value.keywords if isinstance(value, ast.Call) else []
    return any(each.arg == keyword and ast.unparse(each.value) == repr(constant) for each in given)


def _without_default(value: ast.expr) -> bool:
    called = isinstance(value, ast.Call) and ast.unparse(value.func) in ("field", "dataclasses.field")
    keywords = {each.arg for each in value.keywords} if isinstance(value, ast.Call) else set()
    return called and not keywords & {"default", "default_factory"}
