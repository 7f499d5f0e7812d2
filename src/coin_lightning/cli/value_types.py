"""Values of a config against the annotations of what is called with them. Hydra types a value by its looks alone."""

import inspect
import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Annotated, Any, Literal, get_type_hints

from omegaconf import DictConfig, ListConfig, OmegaConf
from pydantic import ConfigDict, Field, PositiveInt, TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError
from pydantic_core import SchemaError

STRICT = ConfigDict(strict=True, allow_inf_nan=False, arbitrary_types_allowed=True)
Text = Annotated[str, Field(min_length=1)]


class RunKeys:
    """What `train.yaml` sets itself, beside its groups."""

    experiment_name: Text
    published: Text | None
    seed: Annotated[int, Field(ge=0, lt=2**32)]  # what NumPy takes
    num_threads: PositiveInt | None
    run_dir: Text
    share_answers: bool


class BoundKeys:
    """The `bounds` of `train.yaml`: folders of finished runs, patterns or lists of them."""

    individual: Text | list[Text] | None
    joint: Text | None


class SweepKeys:
    """The `sweep` of `train.yaml`."""

    impossible: Literal["skip", "refuse"]
    objective: Text | list[Text] | None


def checked(node: DictConfig, path: str, hints: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with the values of a node, as lines; whole numbers in the place of text become text in the node.

    Args:
        node: of a config, resolvable.
        path: its key, empty for the whole config.
        hints: annotation by key; a key without one may be anything.
    """
    for key in [str(each) for each in node if str(each) in hints]:
        name, value = f"{path}.{key}" if path else key, _plain(node[key])
        if holds_call(value):
            yield from _beside_calls(name, value)
        elif reason := refusal(hints[key], value):
            text = _as_text(value)
            if text != value and refusal(hints[key], text) is None:
                OmegaConf.update(node, key, text)
            else:
                yield f"{name}={shown(value)}: {reason}{_quoting(name, value, hints[key])}"


def _plain(value: Any) -> Any:
    """A value as JSON would write it; of calls in it no more than that they are calls: those have their own check."""
    if isinstance(value, DictConfig):
        return {str(key): _plain(value[key]) for key in (["_target_"] if "_target_" in value else value)}
    return [_plain(each) for each in value] if isinstance(value, ListConfig) else value


def refusal(annotation: Any, value: Any) -> str | None:
    """Why a value that JSON can write does not fit an annotation: `must be a valid integer`; None when it does.

    An int is a float, a list any sequence and a text a path, but no number is a text or a truth, and NaN is no number.
    """
    try:
        _adapter(annotation).validate_json(json.dumps(value))
    except ValidationError as error:
        reasons = dict.fromkeys(re.sub(r"^\w+ should ", "must ", each["msg"]) for each in error.errors())
        return " or ".join(reasons)
    except (PydanticUserError, SchemaError):  # a class or protocol of which no plain value can be
        return None if value is None else "must be an object with a _target_"
    return None


@cache
def _adapter(annotation: Any) -> TypeAdapter:
    return TypeAdapter(annotation, config=STRICT)


@cache
def hints_of(called: Any) -> Mapping[str, Any]:
    """Annotation by option of a callable; of `**options` those of the class that it says to return (see `accepted`)."""
    function = called.__init__ if inspect.isclass(called) else called
    try:
        hints = get_type_hints(function, include_extras=True)
    except (NameError, TypeError):  # of a builtin, or names that only a type checker sees
        return {}
    parameters = inspect.signature(function).parameters.values()
    further = {each.name for each in parameters if each.kind in (each.VAR_KEYWORD, each.VAR_POSITIONAL)}
    result: Any = hints.pop("return", None)
    own = {name: hint for name, hint in hints.items() if name not in further}
    handed_on = bool(further) and inspect.isclass(result) and called is not result
    return {**hints_of(result), **own} if handed_on else own


def holds_call(value: Any) -> bool:
    """Whether a plain value is, or has directly in it, a node with a `_target_`."""
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return is_call(value) or any(map(is_call, inside))


def is_call(value: Any) -> bool:
    """Whether a plain value is a node with a `_target_`."""
    return isinstance(value, dict) and "_target_" in value


def shown(value: Any) -> str:
    """A value as it may stand in an override."""
    return json.dumps(value, ensure_ascii=False)


def _beside_calls(name: str, value: Any) -> list[str]:
    inside = value.items() if isinstance(value, dict) and not is_call(value) else ()
    wrong = [(key, each) for key, each in inside if not is_call(each)]
    return [f"{name}.{key}={shown(each)}: must be a group with a _target_, as those beside it" for key, each in wrong]


def _as_text(value: Any) -> Any:
    """With text in the place of every whole number, as it was typed: `experiment_name=20261124`."""
    if isinstance(value, dict):
        return {key: _as_text(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_as_text(each) for each in value]
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _quoting(name: str, value: Any, annotation: Any) -> str:
    """How to give as text what Hydra took for a number, a truth or nothing."""
    if isinstance(value, str | dict | list) or refusal(annotation, "text") is not None:
        return ""
    return f"; for a text write '{name}=\"{shown(value)}\"', both kinds of quotes included"
