"""Names and numbers as people read them: task titles, short column heads, percent, bytes, durations."""

import math
from collections.abc import Mapping

from coin_lightning.config_folder import conf_dir, task_nodes, title_in_yaml

ROWS = {"zero_shot": "zero-shot"}
MISSING, MINUS = "\u2013", "\u2212"  # en dash, true minus


def title(name: str, titles: Mapping[str, str] | None = None) -> str:
    """A task, or a row of the matrix, as the publications print it.

    Args:
        name: key of the task, `zero_shot` or `joint`.
        titles: by key; of others the package's yaml is asked, and an unknown key is shown as it is.
    """
    return (titles or {}).get(name) or ROWS.get(name) or task_nodes(conf_dir()).get(name, {}).get("title") or name


def short(name: str, shorts: Mapping[str, str] | None = None) -> str:
    """The same for narrow tables: at most six characters where the yaml has no short name."""
    known = (shorts or {}).get(name) or task_nodes(conf_dir()).get(name, {}).get("short")
    return known or ROWS.get(name) or name[:6]


def method_title(method: str) -> str:
    """Method and plugins (`moelora + ewc`) as the package's yaml calls them; an unknown key is shown as it is."""
    found = (title_in_yaml("method", name) or title_in_yaml("plugin", name) or name for name in method.split(" + "))
    return " + ".join(found)


def percent(value: float | None) -> str:
    """One decimal, or an en dash for a missing value."""
    return MISSING if value is None or math.isnan(value) else f"{value:.1f}"


def signed(value: float | None) -> str:
    """One decimal with its sign (true minus), or an en dash for a missing value."""
    if value is None or math.isnan(value):
        return MISSING
    rounded = round(value, 1) + 0.0
    return f"{rounded:+.1f}".replace("-", MINUS)


def count(value: float) -> str:
    """1234567 -> ``1.23 M``; below ten thousand the whole number."""
    return f"{value:.0f}" if value < 1e4 else _in_units(value, {"k": 1e3, "M": 1e6, "G": 1e9})


def bytes_size(value: float) -> str:
    """Bytes in decimal units, three digits."""
    return f"{value:.0f} B" if value < 999.5 else _in_units(value, {"kB": 1e3, "MB": 1e6, "GB": 1e9})


def _in_units(value: float, sizes: Mapping[str, float]) -> str:
    """Three digits, in the first unit of which they are less than a thousand, or in the last."""
    rounded = {unit: float(f"{value / size:.3g}") for unit, size in sizes.items()}
    unit = next((unit for unit, number in rounded.items() if number < 1000), [*sizes][-1])
    return f"{rounded[unit]:g} {unit}"


def duration(seconds: float) -> str:
    """75 -> ``1 min 15 s``; from an hour on hours and minutes."""
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes_left = divmod(minutes, 60)
    return f"{hours} h {minutes_left} min" if hours else f"{minutes} min {rest} s"


def seed_text(seed: int | None) -> str:
    """A seed, or that nobody knows it."""
    return "unknown" if seed is None else str(seed)
