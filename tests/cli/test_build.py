"""From config nodes to objects, and what is said about nodes that cannot be built."""

from dataclasses import dataclass

import pytest
from omegaconf import OmegaConf

from coin_lightning.cli.build import binding_problems, build, resolve, targets
from coin_lightning.cli.signatures import accepted
from coin_lightning.config_folder import conf_dir
from coin_lightning.errors import ConfigError, DataError

HERE = __name__


@dataclass
class Settings:
    size: int = 1
    depth: int = 2


def settings(size: int, **options: int) -> Settings:
    return Settings(size=size, **options)


def anything(**options: int) -> dict[str, int]:
    return options


def refuse() -> None:
    raise DataError("sample 3 is wrong")


def node(target: str, **keys):
    return OmegaConf.create({"_target_": target, **keys})


def test_conf_is_the_folder_of_the_checkout():
    assert (conf_dir() / "train.yaml").is_file()
    assert conf_dir().name == "conf"


def test_build_makes_plain_containers():
    made = build(node("builtins.dict", a=[1, 2], b={"c": 3}))
    assert made == {"a": [1, 2], "b": {"c": 3}}
    assert type(made["a"]) is list
    assert type(made["b"]) is dict


def test_our_own_errors_come_through_unwrapped(monkeypatch):
    import sys
    import types

    module = types.ModuleType("built_here")
    module.refuse = refuse  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "built_here", module)
    with pytest.raises(DataError, match=r"^sample 3 is wrong$"):
        build(node("built_here.refuse"))


def test_other_errors_name_target_and_reason():
    with pytest.raises(ConfigError, match=r"(?s)fractions\.Fraction.*ZeroDivisionError"):
        build(node("fractions.Fraction", numerator=1, denominator=0))


def test_targets_are_found_at_every_depth():
    config = OmegaConf.create(
        {"a": node("x.A", inner=node("x.B")), "b": [node("x.C")], "hydra": node("x.D"), "c": {"d": node("x.E"), "e": 1}}
    )
    assert {path: found["_target_"] for path, found in targets(config)} == {
        "a": "x.A", "a.inner": "x.B", "b[0]": "x.C", "c.d": "x.E"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("target", "keys", "problems"),
    [
        ("fractions.Fraction", {"numerator": 1}, []),
        ("fractions.Fraction", {"numrator": 1}, ["k.numrator: fractions.Fraction has no such option; did you"]),
        ("fractions.Fractoin", {}, ["k._target_: fractions.Fractoin cannot be imported"]),
        ("textwrap.wrap", {}, ["k.text: textwrap.wrap needs this option"]),
        ("textwrap.wrap", {"_partial_": True}, []),
        ("textwrap.wrap", {"whatever": 1, "_partial_": True}, []),  # it takes any option
    ],
)  # fmt: skip
def test_binding(target: str, keys: dict, problems: list[str]):
    found = binding_problems("k", node(target, **keys))
    assert len(found) == len(problems)
    assert all(line.startswith(start) for line, start in zip(found, problems, strict=True))


def test_options_that_are_handed_on_are_checked_too():
    assert accepted(settings) == {"size", "depth"}
    assert accepted(Settings) == {"size", "depth"}
    assert accepted(anything) is None


def test_references_are_worked_out_once_and_one_that_leads_nowhere_is_named():
    config = OmegaConf.create({"data": {"root": "here"}, "tasks": {"gqa": {"root": "${data.root}"}}, "all": "${data}"})
    resolve(config)
    assert OmegaConf.to_container(config) == {
        "data": {"root": "here"},
        "tasks": {"gqa": {"root": "here"}},
        "all": {"root": "here"},
    }
    with pytest.raises(ConfigError, match=r"'data\.rot' not found"):
        resolve(OmegaConf.create({"a": "${data.rot}"}))
