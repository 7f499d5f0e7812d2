"""What each metric of the score matrix says, in one sentence, with its formula and where it comes from.

R[j, i] is the score on task i after training task j, R[0, i] zero-shot, T the number of tasks.
"""

import math
from dataclasses import dataclass

from coin_lightning.reporting.names import MISSING, percent, signed


@dataclass(frozen=True)
class MetricInfo:
    """Label, meaning and formula of a metric; ``signed`` ones are differences in points, ``ratio`` ones fractions."""

    label: str
    meaning: str
    formula: str
    better: str
    signed: bool = False
    ratio: bool = False

    @property
    def decimals(self) -> int:
        """Digits behind the point of a value, and of its spread."""
        return 2 if self.ratio else 1

    def show(self, value: float | None) -> str:
        """The value as text: percent, points with a sign, or a fraction with two decimals."""
        if self.ratio:
            return MISSING if value is None or math.isnan(value) else f"{value:.2f}"
        return signed(value) if self.signed else percent(value)


GLOSSARY: dict[str, MetricInfo] = {
    "acc": MetricInfo(
        "Final accuracy (ACC)", "Mean score over all tasks at the very end: what the model can still do.",
        "(1/T) Σᵢ R[T,i]", "higher"),
    "learning_accuracy": MetricInfo(
        "Learning accuracy", "Mean score on each task right after its own training: how well it learns at all.",
        "(1/T) Σᵢ R[i,i]", "higher"),
    "maa": MetricInfo(
        "Mean average accuracy (MAA)", "Average, over the whole sequence, of the mean score on the tasks seen so far.",
        "(1/T) Σⱼ (1/j) Σ_{i≤j} R[j,i]", "higher"),
    "bwt": MetricInfo(
        "Backward transfer (BWT)",
        "Mean change of the earlier tasks between their own training and the end; negative means forgetting.",
        "(1/(T-1)) Σ_{i<T} (R[T,i] - R[i,i])", "higher", signed=True),
    "bwt_coin": MetricInfo(
        "Backward transfer, as CoIN prints it",
        "The same sum divided by T although the last task cannot be forgotten yet, so it looks milder.",
        "(1/T) Σᵢ (R[T,i] - R[i,i])", "higher", signed=True),
    "forgetting": MetricInfo(
        "Forgetting", "Mean loss of the earlier tasks from their best score since their own training to the end.",
        "(1/(T-1)) Σ_{i<T} (max_{i≤j<T} R[j,i] - R[T,i])", "lower"),
    "fwt": MetricInfo(
        "Forward transfer (FWT)", "Mean gain on a task just before its own training, compared with zero-shot.",
        "(1/(T-1)) Σ_{i>1} (R[i-1,i] - R[0,i])", "higher", signed=True),
    "transfer": MetricInfo(
        "Transfer", "Mean score on tasks not trained yet, over all experiences before them.",
        "mean_{i>1} mean_{j<i} R[j,i]", "higher"),
    "intransigence": MetricInfo(
        "Intransigence", "How much worse a task is learned in the sequence than on its own (needs single-task scores; "
        "Chaudhry et al. 2018 compare with joint training on all tasks so far).",
        "(1/T) Σᵢ (S[i] - R[i,i])", "lower", signed=True),
    "retention": MetricInfo(
        "Retention against joint training", "Final accuracy as a share of one model trained on all tasks together.",
        "ACC / ((1/T) Σᵢ M[i])", "higher", ratio=True),
    "retention_individual": MetricInfo(
        "Retention against single tasks", "Final accuracy as a share of models trained on one task each.",
        "ACC / ((1/T) Σᵢ S[i])", "higher", ratio=True),
    "zero_shot": MetricInfo(
        "Zero-shot accuracy", "Mean score over all tasks before any training.", "(1/T) Σᵢ R[0,i]", "higher"),
}  # fmt: skip


JUDGE = "judge/"
"""In front of a metric's key: the same of the judge's scores."""


def explain(key: str) -> MetricInfo:
    """Entry for a metric key; ``judge/x`` explains x, and an unknown key is shown under its own name."""
    if key.startswith(JUDGE):
        info = explain(key.removeprefix(JUDGE))
        return MetricInfo(f"{info.label}, by judge", info.meaning, info.formula, info.better, info.signed, info.ratio)
    return GLOSSARY.get(key, MetricInfo(key, "", "", ""))


def paired(metrics: dict[str, float | None]) -> list[tuple[str, MetricInfo, float | None, float | None]]:
    """(key, entry, value by the rules, value by the run's judge) of every metric, in the order of `ordered`."""
    own = {key.removeprefix(JUDGE): metrics.get(key.removeprefix(JUDGE)) for key in metrics}
    return [(key, info, value, metrics.get(f"{JUDGE}{key}")) for key, info, value in ordered(own)]


def ordered(metrics: dict[str, float | None]) -> list[tuple[str, MetricInfo, float | None]]:
    """(key, entry, value) of every metric, known ones first and in the order of the glossary."""
    keys = [key for key in GLOSSARY if key in metrics] + [key for key in metrics if key not in GLOSSARY]
    return [(key, explain(key), metrics[key]) for key in keys]
