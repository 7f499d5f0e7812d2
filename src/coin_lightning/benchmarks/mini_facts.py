"""Facts behind the ScienceQA counterpart, read from bokeh-sampledata's tables: elements, countries, cities."""

import csv
import gzip
from dataclasses import dataclass
from functools import cache
from pathlib import Path

YEAR = 2010
_METALS = ("metal", "alkali metal", "alkaline earth metal", "transition metal", "lanthanoid", "actinoid")


@dataclass(frozen=True)
class Element:
    """A chemical element; ``state`` is solid, liquid or gas; ``metal`` is None for metalloids."""

    name: str
    symbol: str
    number: int
    state: str
    metal: bool | None


@dataclass(frozen=True)
class Country:
    """A country with its population in 2010 and the region Gapminder files it under."""

    name: str
    population: int
    region: str


@cache
def elements(folder: Path) -> tuple[Element, ...]:
    """The elements up to radon (86) whose state is known, by atomic number."""
    with (folder / "elements.csv").open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    found = [_element(row) for row in rows if int(row["atomic number"]) <= 86 and row["standard state"]]
    return tuple(sorted(found, key=lambda element: element.number))


def common_elements(folder: Path) -> tuple[Element, ...]:
    """The first 20 elements: few enough that questions about them teach what others ask."""
    return elements(folder)[:20]


def _element(row: dict[str, str]) -> Element:
    state = row["standard state"].strip()
    family = row["metal"].strip()
    metal = None if family == "metalloid" else family in _METALS
    return Element(row["name"].strip(), row["symbol"].strip(), int(row["atomic number"]), state, metal)


@cache
def countries(folder: Path) -> tuple[Country, ...]:
    """Countries of at least two million people in 2010 that have a region, by name."""
    with (folder / "gapminder_regions.csv").open(newline="", encoding="utf-8") as stream:
        regions = {row["Country"]: row["Group"] for row in csv.DictReader(stream)}
    with gzip.open(folder / "gapminder.csv.gz", "rt", encoding="utf-8", newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row["year"] == str(YEAR) and row["population"]]
    found = [
        Country(row["country"], int(float(row["population"])), regions[row["country"]])
        for row in rows
        if row["country"] in regions
    ]
    return tuple(sorted((c for c in found if c.population >= 2_000_000 and _plain(c.name)), key=lambda c: c.name))


def _plain(name: str) -> bool:
    return len(name) < 20 and not any(mark in name for mark in ",.'") and " and " not in name
