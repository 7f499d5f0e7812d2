"""Checks of the samples a run uses against the backbone's context and the images on disk."""

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from coin_lightning.backbones.base import IGNORE
from coin_lightning.image_list import NAME, is_listed
from coin_lightning.tasks.collate import Encoder
from coin_lightning.tasks.image_ledger import LEDGER, ImageLedger, Survey
from coin_lightning.tasks.sample_format import TestSample, TrainSample
from coin_lightning.tasks.sample_sequence import Samples


def too_long(
    samples: Samples[Any], lengths: np.ndarray, encoder: Encoder, max_new_tokens: int
) -> tuple[list[str], int]:
    """Samples that do not fit the context, with their lengths, and how many training samples are cut to fit.

    A sample is refused, too, when nothing to learn is left before the cut, or not the whole of its image.

    Args:
        lengths: tokens of each sample, uncut.
        max_new_tokens: longest answer of a test sample, see `Encoder.room`.
    """
    kept = encoder.room(max_new_tokens) if len(samples) and isinstance(samples[0], TestSample) else 0
    long = [samples[index] for index in np.flatnonzero(lengths > encoder.backbone.max_length - kept).tolist()]
    if kept or not encoder.cuts:
        return [_too_long(sample, encoder, kept) for sample in long], 0
    lines = [line for sample in long if (line := _spoilt(sample, encoder)) is not None]
    return lines, len(long) - len(lines)


def _spoilt(sample: TrainSample, encoder: Encoder) -> str | None:
    """What is wrong with a sample behind its cut, if anything is."""
    ids, labels = encoder.cut(sample)
    wanted = encoder.backbone.image_tokens(encoder.grids(sample))
    whole = ids.count(encoder.backbone.image_token_id) == wanted
    if whole and any(label != IGNORE for label in labels):
        return None
    lost = "all of its answers" if whole else "a part of its images"
    return (
        f"{sample.where}: cut at backbone.max_length={encoder.backbone.max_length} tokens it loses {lost}; raise it or "
        "shorten the sample"
    )


def _too_long(sample: TrainSample | TestSample, encoder: Encoder, kept: int) -> str:
    ids, labels = encoder.whole(sample)
    learned = sum(label != IGNORE for label in labels)
    part = f"an answer of {learned} tokens" if isinstance(sample, TrainSample) else f"{kept} answer tokens"
    return (
        f"{sample.where}: {len(ids)} tokens with {part} do not fit backbone.max_length={encoder.backbone.max_length}; "
        "raise it or shorten the sample"
    )


def broken_images(
    tests: Samples[Any],
    trains: Samples[Any],
    images: Path,
    features: Path,
    on_progress: Callable[[int], None] = lambda done: None,
) -> tuple[list[str], Survey]:
    """Images that cannot be decoded, each with a sample that shows it; and what is known of all.

    Those that were decoded before, by any run that shares the folder `features`, are not opened again.
    """
    survey = ImageLedger(features / LEDGER).survey(images, [*tests.images, *trains.images], on_progress=on_progress)
    return _told(tests, trains, survey.problems), survey


def hashes_of_images(splits: Mapping[str, Samples[Any]], survey: Survey) -> dict[str, str]:
    """One sha256 over paths and contents of the images that the samples of each split show; none for a split without
    images, or with one that is not sound."""
    images = {split: samples.images for split, samples in splits.items()}
    return {
        split: hashlib.sha256(b"".join(survey.facts[path].sha256 + path.encode() for path in shown)).hexdigest()
        for split, shown in images.items()
        if shown and all(path in survey.facts for path in shown)
    }


def altered_images(
    tests: Samples[Any],
    trains: Samples[Any],
    images: Path,
    survey: Survey,
    listed: Mapping[str, str],
    remedy: str,
) -> list[str]:
    """Images that are not what `images.sha256` says, each with a sample that shows it."""
    problems = {
        image: f"{images / image}: is not what was built or fetched ({NAME} has another sha256); {remedy}"
        for image, facts in survey.facts.items()
        if image in listed and not is_listed(facts.sha256.hex(), listed[image])
    }
    return _told(tests, trains, problems)


def _told(tests: Samples[Any], trains: Samples[Any], problems: Mapping[str, str]) -> list[str]:
    users = {**tests.users(problems), **trains.users(problems)}
    return [f"{users[image]}: {problem}" for image, problem in problems.items()]
