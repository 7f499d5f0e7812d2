"""Names and numbers as people read them: task titles, short column heads, percent, bytes, durations."""

import math

TITLES = {
    "scienceqa": "ScienceQA",
    "textvqa": "TextVQA",
    "imagenet": "ImageNet",
    "gqa": "GQA",
    "vizwiz": "VizWiz",
    "grounding": "Grounding",
    "vqav2": "VQAv2",
    "ocrvqa": "OCR-VQA",
    "zero_shot": "zero-shot",
    "joint": "joint",
}
SHORT = {
    "scienceqa": "SciQA",
    "textvqa": "Text",
    "imagenet": "ImgN",
    "gqa": "GQA",
    "vizwiz": "VizW",
    "grounding": "Grnd",
    "vqav2": "VQA2",
    "ocrvqa": "OCR",
    "zero_shot": "zero-shot",
    "joint": "joint",
}
METHODS = {"moelora": "MoELoRA", "lora": "LoRA", "ewc": "EWC", "lwf": "LwF"}


MISSING, MINUS = "\u2013", "\u2212"  # en dash, true minus


def title(task: str) -> str:
    """Name as the publications print it; an unknown key is shown as it is."""
    return TITLES.get(task, task)


def short(task: str) -> str:
    """Name of at most five characters for known tasks, six for others, for narrow tables."""
    return SHORT.get(task, task[:6])


def method_title(method: str) -> str:
    """Name of a method as the publications print it; an unknown key is shown as it is."""
    return METHODS.get(method, method)


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
