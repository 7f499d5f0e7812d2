"""What `make setup` installs is the same tomorrow: every package, not only those that the project asks for itself."""

from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

PINS = {
    canonicalize_name(name): Version(version)
    for line in (Path(__file__).parents[1] / "constraints.txt").read_text().splitlines()
    if not line.startswith("#")
    for name, version in [line.split("==")]
}


def brought_along(package: str, extras: frozenset[str], seen: dict[tuple[str, frozenset[str]], bool]) -> None:
    """Collect what a package needs, and whether whoever needs it says the version itself."""
    for text in distribution(package).requires or []:
        need = Requirement(text)
        if need.marker and not any(need.marker.evaluate({"extra": extra}) for extra in extras | {""}):
            continue
        key = canonicalize_name(need.name), frozenset(need.extras)
        exact = any(each.operator == "==" and "*" not in each.version for each in need.specifier)
        seen_before, seen[key] = key in seen, exact or seen.get(key, False)
        if not seen_before:
            brought_along(*key, seen)


def test_every_package_that_is_installed_has_one_version():
    seen: dict[tuple[str, frozenset[str]], bool] = {}
    brought_along("coin-lightning", frozenset({"dev"}), seen)
    needed = {name: exact for (name, _), exact in seen.items() if name != "coin-lightning"}
    assert len(needed) > 100
    free = sorted(name for name, exact in needed.items() if name not in PINS and not exact)
    assert free == [], "add these to constraints.txt"
    for name in needed.keys() & PINS.keys():
        assert (name, Version(distribution(name).version).public) == (name, str(PINS[name]))


def test_optional_packages_that_are_pinned_without_being_installed_are_few():
    absent = set()
    for name in PINS:
        try:
            distribution(name)
        except PackageNotFoundError:
            absent.add(name)
    assert absent <= {"ray", "hydra-ray-launcher"}
