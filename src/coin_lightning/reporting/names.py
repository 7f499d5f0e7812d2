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
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if value >= size:
            return f"{value / (1e3 if unit == 'k' else size):.3g} {unit}"
    return f"{value:.0f}"


def bytes_size(value: float) -> str:
    """Bytes in decimal units, three digits."""
    for size, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value:.0f} B"


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
