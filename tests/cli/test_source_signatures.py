"""What source files say of a callable is what the callable says itself."""

import re
from pathlib import Path
from typing import Any

import pytest

from coin_lightning.cli.signatures import Signature, imported_signature
from coin_lightning.cli.source_signatures import source_signature
from coin_lightning.config_folder import conf_dir

FILES = [file.read_text() for file in conf_dir().rglob("*.yaml")]
TARGETS = sorted({name for text in FILES for name in re.findall(r"_target_: ([\w.]+)", text)})
OBJECTS = {"tasks", "source", "truth", "optimizer", "data", "batches", "answers", "family",
           "gradient_checkpointing", "fast"}  # fmt: skip
"""Options of ours whose annotations have a class, or a name of another module, in them."""

HERE = """
import dataclasses
import typing as t
from dataclasses import dataclass, field
from pathlib import Path as P
from typing import Annotated, ClassVar, Literal

from pydantic import Field, PositiveInt

Share = Annotated[float, Field(ge=0, lt=1)]


class Nothing:
    pass


class Base:
    def __init__(self, size: PositiveInt, *, depth: "int" = 1, other: Nothing | None = None) -> None: ...


class Child(Base, t.Generic[t.T]):
    pass


class Made:
    def __new__(cls, size): ...


@dataclass
class Settings:
    kind: ClassVar[str] = "x"
    rank: int
    names: list[str] = field(default_factory=list)
    kept: int = field(init=False, default=0)


@dataclasses.dataclass(frozen=True)
class More(Settings):
    share: Share = 0.5


def function(rank: int, mode: Literal["a", "b"] = "a", share: Share = 0, place: t.Optional[P] = None, **x) -> More: ...


def anything(rank: int, **options): ...


number = 3
"""


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package `mine_here` whose import fails, and which hands on what its file `parts` defines."""
    (tmp_path / "mine_here").mkdir()
    (tmp_path / "mine_here" / "parts.py").write_text(HERE)
    (tmp_path / "mine_here" / "__init__.py").write_text(
        "from .parts import Child as Handed\nfrom . import circle\nraise ImportError('too heavy')"
    )
    (tmp_path / "mine_here" / "circle.py").write_text("from mine_here.circle import around")
    monkeypatch.syspath_prepend(tmp_path)


def words(hint: Any) -> list[str]:
    """Of an annotation, sorted: in which order a union tells its members depends on who asked for it first."""
    return sorted(re.findall(r"\w+", repr(hint)))


@pytest.mark.parametrize("target", TARGETS)
def test_every_target_of_conf_is_read_as_it_is(target: str):
    read, real = source_signature(target), imported_signature(target)
    assert read is not None
    assert read.options == real.options
    assert set(read.needed) == set(real.needed)
    assert {name: words(hint) for name, hint in read.hints.items()} == {
        name: words(hint) for name, hint in real.hints.items() if name in read.hints
    }
    if target.startswith("coin_lightning."):
        assert set(real.hints) - set(read.hints) <= OBJECTS


def read(name: str) -> Signature:
    found = source_signature(f"mine_here.{name}")
    assert found is not None
    return found


@pytest.mark.usefixtures("mine")
def test_options_come_from_a_base_that_another_file_hands_on():
    assert read("Handed") == read("parts.Child") == read("parts.Base")
    assert read("Handed").options == {"size", "depth", "other"}
    assert read("Handed").needed == ("size",)
    assert set(read("Handed").hints) == {"size"}  # text and classes mean something in their own module only


@pytest.mark.usefixtures("mine")
def test_fields_of_dataclasses_are_their_options():
    assert read("parts.More").options == {"rank", "names", "share"}
    assert read("parts.More").needed == ("rank",)
    assert read("parts.Nothing") == Signature()


@pytest.mark.usefixtures("mine")
def test_a_function_hands_further_options_on_to_the_class_that_it_returns():
    assert read("parts.function").options == {"rank", "mode", "share", "place", "names"}
    assert read("parts.function").needed == ("rank",)
    assert set(read("parts.function").hints) == {"rank", "mode", "share", "place"}
    assert read("parts.anything").options is None


@pytest.mark.usefixtures("mine")
@pytest.mark.parametrize(
    "name", ["circle", "circle.around", "parts.Made", "parts.number", "parts.Absent", "absent.Thing", "parts.Base.more"]
)
def test_what_the_source_does_not_say_is_not_guessed(name: str):
    assert source_signature(f"mine_here.{name}") is None


@pytest.mark.parametrize("name", ["absent_package.Thing", "builtins.dict", "Thing", "", "sys.path"])
def test_names_without_a_source_are_not_known(name: str):
    assert source_signature(name) is None
