"""Facts behind the ScienceQA counterpart, read from bokeh-sampledata's table of countries."""

import csv
import gzip
from dataclasses import dataclass
from functools import cache
from pathlib import Path

YEAR = 2010


@dataclass(frozen=True)
class Country:
    """A country with its population in 2010 and the region Gapminder files it under."""

    name: str
    population: int
    region: str


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
