"""The exact rules of CoIN's eight tasks, each in two variants.

`reference` does what CoIN's released scripts do, so that published numbers can be compared (`reference_rules`).
`corrected` (default) is each data set's official rule (`corrected_rules`).
"""

from difflib import get_close_matches

from coin_lightning.errors import ConfigError
from coin_lightning.evaluation import corrected_rules, reference_rules
from coin_lightning.evaluation.scorer import VARIANTS, Rule, Scorer

RULES: dict[str, tuple[Rule, Rule]] = {
    "scienceqa": (corrected_rules.scienceqa, reference_rules.scienceqa),
    "textvqa": (corrected_rules.textvqa, reference_rules.textvqa),
    "imagenet": (corrected_rules.imagenet, reference_rules.imagenet),
    "gqa": (corrected_rules.gqa, reference_rules.gqa),
    "vizwiz": (corrected_rules.vqa, reference_rules.upper),
    "grounding": (corrected_rules.grounding, reference_rules.grounding),
    "vqav2": (corrected_rules.vqa, reference_rules.upper),
    "ocrvqa": (corrected_rules.ocrvqa, reference_rules.ocrvqa),
}
"""Task -> rules in the order of `VARIANTS`."""


def get_scorer(task: str, variant: str = "corrected") -> Scorer:
    """The rule of a task.

    Args:
        task: scienceqa, textvqa, imagenet, gqa, vizwiz, grounding, vqav2 or ocrvqa; another task may borrow one of
            these rules.
        variant: "corrected" or "reference".

    Raises:
        ConfigError: an unknown task or variant.
    """
    if variant not in VARIANTS:
        raise ConfigError(_unknown("scorer variant", variant, VARIANTS))
    if task not in RULES:
        raise ConfigError(_unknown("scorer for task", task, tuple(RULES)))
    return Scorer(task, variant, RULES[task][VARIANTS.index(variant)])


def _unknown(what: str, name: str, known: tuple[str, ...]) -> str:
    near = get_close_matches(str(name).lower(), known, n=3)
    hint = f"; did you mean {' or '.join(near)}?" if near else ""
    return f"no {what} {name!r}{hint} (known: {', '.join(known)})"
