"""Where a dotted name is defined, and what an annotation means, read from source files of which none is imported.

`lightning.Trainer` alone takes seconds to import; its source says within milliseconds what it takes.
"""

import ast
import builtins
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.util import find_spec, resolve_name
from pathlib import Path
from typing import Any

LIGHT = ("typing", "typing_extensions", "collections", "pathlib", "pydantic", "datetime")
"""Libraries whose names are looked up by importing them: annotations are made of these."""
HOPS = 12
"""Re-exports that are followed; a name that is handed on more often goes in a circle."""


class UnreadableError(Exception):
    """The source does not say it, or not in a way that is understood here."""


@dataclass(frozen=True)
class Module:
    """A source file: its dotted name, the package of its relative imports, and its top-level statements by name."""

    name: str
    package: str
    names: Mapping[str, ast.stmt]


Definition = tuple[Module, ast.stmt]


@cache
def module(name: str) -> Module:
    """Read a module.

    Raises:
        UnreadableError: there is no source file of this name.
    """
    file = _file(name)
    try:
        tree = ast.parse(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, SyntaxError) as error:
        raise UnreadableError(name) from error
    package = name if file.name == "__init__.py" else name.rpartition(".")[0]
    return Module(name, package, {each: statement for statement in tree.body for each in _bound(statement)})


def definition(place: str, name: str, hops: int = HOPS) -> Definition:
    """The statement that defines a name, and its module; re-exports are followed.

    Args:
        place: dotted name of the module to look in.
        name: without dots.
        hops: re-exports to follow at most.

    Raises:
        UnreadableError: it is not found, is a module, or its definition is no class, function or assignment.
    """
    here = module(place)
    statement = here.names.get(name)
    if isinstance(statement, ast.ImportFrom) and hops:
        alias = next(each for each in statement.names if (each.asname or each.name) == name)
        return definition(source_of(here, statement), alias.name, hops - 1)
    if not isinstance(statement, ast.ClassDef | ast.FunctionDef | ast.Assign | ast.AnnAssign):
        raise UnreadableError(f"{place}.{name}")
    return here, statement


def named(here: Module, expression: ast.expr) -> Definition:
    """The definition that an expression such as `Method` or `L.Callback` names.

    Raises:
        UnreadableError: as `definition`, or it is no name.
    """
    if isinstance(expression, ast.Name):
        return definition(here.name, expression.id)
    if isinstance(expression, ast.Attribute) and isinstance(expression.value, ast.Name):
        statement = here.names.get(expression.value.id)
        if isinstance(statement, ast.Import):
            alias = next(each for each in statement.names if expression.value.id in (each.asname, each.name))
            return definition(alias.name, expression.attr)
    raise UnreadableError(ast.unparse(expression))


def source_of(here: Module, statement: ast.ImportFrom) -> str:
    """Dotted name of the module that a `from ... import` names."""
    relative = "." * statement.level + (statement.module or "")
    return resolve_name(relative, here.package) if statement.level else relative


def meaning(here: Module, expression: ast.expr) -> Any:
    """The value of an annotation: of names from `LIGHT`, builtins, and aliases of such.

    Raises:
        UnreadableError: another name is in it, e.g. a class of this project, which only an import would give.
    """
    if _quotes(expression):
        raise UnreadableError(ast.unparse(expression))
    space = {node.id: _value(here, node.id) for node in ast.walk(expression) if isinstance(node, ast.Name)}
    try:
        value = eval(compile(ast.Expression(expression), here.name, "eval"), {"__builtins__": {}}, space)
    except (TypeError, AttributeError) as error:
        raise UnreadableError(ast.unparse(expression)) from error
    if isinstance(value, str):
        raise UnreadableError(value)
    return type(None) if value is None else value


def _value(here: Module, name: str, hops: int = HOPS) -> Any:
    statement = here.names.get(name)
    if statement is None and isinstance(found := getattr(builtins, name, None), type):
        return found
    if isinstance(statement, ast.Import):
        alias = next(each for each in statement.names if name in (each.asname, each.name))
        return import_module(_light(alias.name))
    if isinstance(statement, ast.ImportFrom):
        source = source_of(here, statement)
        alias = next(each for each in statement.names if (each.asname or each.name) == name)
        if source.split(".", 1)[0] in LIGHT:
            return getattr(import_module(source), alias.name)
        if hops:
            return _value(module(source), alias.name, hops - 1)
    if isinstance(statement, ast.Assign | ast.AnnAssign) and statement.value is not None:
        return meaning(here, statement.value)
    raise UnreadableError(f"{here.name}.{name}")


def _light(name: str) -> str:
    if name.split(".", 1)[0] not in LIGHT:
        raise UnreadableError(name)
    return name


def _quotes(expression: ast.expr) -> bool:
    """Whether a type is given as text, which only its own module can look up; the texts of a `Literal` are values."""
    inside = [node for node in ast.walk(expression) if isinstance(node, ast.Subscript)]
    for node in inside:
        parts = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        literal = ast.unparse(node.value).rpartition(".")[2] == "Literal"
        if not literal and any(isinstance(part, ast.Constant) and isinstance(part.value, str) for part in parts):
            return True
    return False


def _bound(statement: ast.stmt) -> list[str]:
    """Names that a statement defines."""
    if isinstance(statement, ast.ClassDef | ast.FunctionDef):
        return [statement.name]
    if isinstance(statement, ast.ImportFrom):
        return [alias.asname or alias.name for alias in statement.names]
    if isinstance(statement, ast.Import):
        return [alias.asname or alias.name for alias in statement.names]
    targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
    return [target.id for target in targets if isinstance(target, ast.Name)]


def _file(name: str) -> Path:
    """Source file of a module. Only the spec of its top-level package is asked for, which imports nothing."""
    top, *rest = name.split(".")
    try:
        spec = find_spec(top)
    except (ImportError, ValueError) as error:
        raise UnreadableError(name) from error
    if spec is None:
        raise UnreadableError(name)
    places = [Path(each) for each in spec.submodule_search_locations or ()]
    if not rest and spec.origin is not None and not places:
        return Path(spec.origin)
    inner = "/".join(rest)
    found = [file for place in places for file in (place / inner / "__init__.py", place / f"{inner}.py")]
    existing = [file for file in found if file.is_file()]
    if not existing:
        raise UnreadableError(name)
    return existing[0]
