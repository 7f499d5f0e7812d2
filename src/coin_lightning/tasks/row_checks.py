"""Checks of the rows a run uses against the backbone's context and the images on disk."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from coin_lightning.backbones.base import IGNORE
from coin_lightning.tasks.collate import Encoder
from coin_lightning.tasks.image_ledger import LEDGER, ImageLedger, Survey
from coin_lightning.tasks.row_format import TestRow, TrainRow
from coin_lightning.tasks.row_sequence import Rows


def too_long(rows: Rows[Any], lengths: np.ndarray, encoder: Encoder, max_new_tokens: int) -> tuple[list[str], int]:
    """Rows that do not fit the context, with their lengths, and how many training rows are cut to fit.

    A row is refused, too, when nothing to learn is left before the cut, or not the whole of its image.

    Args:
        lengths: tokens of each row, uncut.
        max_new_tokens: room that a test row must leave.
    """
    kept = max_new_tokens if len(rows) and isinstance(rows[0], TestRow) else 0
    long = [rows[index] for index in np.flatnonzero(lengths > encoder.backbone.max_length - kept).tolist()]
    if kept or not encoder.cuts:
        return [_too_long(row, encoder, kept) for row in long], 0
    lines = [line for row in long if (line := _spoilt(row, encoder)) is not None]
    return lines, len(long) - len(lines)


def _spoilt(row: TrainRow, encoder: Encoder) -> str | None:
    """What is wrong with a row behind its cut, if anything is."""
    ids, labels = encoder.cut(row)
    token, size = encoder.backbone.image_token_id, encoder.backbone.tokens_per_image
    whole = ids.count(token) == len(row.media) * size
    if whole and any(label != IGNORE for label in labels):
        return None
    lost = "all of its answers" if whole else "a part of its images"
    return (
        f"{row.where}: cut at backbone.max_length={encoder.backbone.max_length} tokens it loses {lost}; raise it or "
        "shorten the row"
    )


def _too_long(row: TrainRow | TestRow, encoder: Encoder, kept: int) -> str:
    ids, labels = encoder.whole(row)
    learned = sum(label != IGNORE for label in labels)
    part = f"an answer of {learned} tokens" if isinstance(row, TrainRow) else f"{kept} answer tokens"
    return (
        f"{row.where}: {len(ids)} tokens with {part} do not fit backbone.max_length={encoder.backbone.max_length}; "
        "raise it or shorten the row"
    )


def broken_images(
    tests: Rows[Any],
    trains: Rows[Any],
    images: Path,
    features: Path,
    on_progress: Callable[[int], None] = lambda done: None,
) -> tuple[list[str], Survey]:
    """Images that cannot be decoded, each with a row that shows it; and what is known of all.

    Those that were decoded before, by any run that shares the folder `features`, are not opened again.
    """
    survey = ImageLedger(features / LEDGER).survey(images, [*tests.images, *trains.images], on_progress=on_progress)
    users = {**tests.users(survey.problems), **trains.users(survey.problems)}
    return [f"{users[image]}: {problem}" for image, problem in survey.problems.items()], survey
