"""The soft accuracy of the VQA challenge against ten human answers."""

from collections.abc import Callable, Sequence

ANNOTATORS = 10


def leave_one_out_accuracy(matches: int, annotators: int = ANNOTATORS) -> float:
    """Score of an answer that `matches` of the annotators gave, in [0, 1] (Antol et al. 2015; TextVQA: Singh et al.
    2019).

    Each annotator is left out once; the answer then earns min(1, n/3) for n equal answers among the others; the mean
    is the score. With ten annotators: 0 -> 0, 1 -> 0.3, 2 -> 0.6, 3 -> 0.9, 4 or more -> 1.
    """
    with_it = min(1.0, (matches - 1) / 3) if matches else 0.0
    without_it = min(1.0, matches / 3)
    return (matches * with_it + (annotators - matches) * without_it) / annotators


_SCORES = tuple(leave_one_out_accuracy(matches) for matches in range(ANNOTATORS + 1))


def soft_accuracy(prediction: str, answers: Sequence[str], normalize: Callable[[str], str]) -> float:
    """Soft accuracy in [0, 1] of `prediction` against ten `answers`, all brought into a common form by `normalize`.

    Raises:
        ValueError: there are not exactly ten answers.
    """
    if len(answers) != ANNOTATORS:
        raise ValueError(f"{len(answers)} annotator answers, soft accuracy needs {ANNOTATORS}")
    wanted = normalize(prediction)
    return _SCORES[sum(normalize(answer) == wanted for answer in answers)]
