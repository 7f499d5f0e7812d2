"""Options by what they are about: refusals, and how many test samples are used."""

from pathlib import Path

import pytest

from coin_lightning.errors import ConfigError
from coin_lightning.tasks.options import AnswerOptions, BatchOptions, DataOptions
from made_tasks import made_task


def data(**options) -> DataOptions:
    return DataOptions(root="data", features="features", **options)


@pytest.mark.parametrize(
    ("subset", "limit", "samples"),
    [
        ("full", None, (None, None)),
        ("full", 7, (7, None)),
        (5, 7, (5, None)),
        (9, 7, (7, None)),
        (9, None, (9, None)),
        ("ids.json", 7, (7, Path("ids.json"))),
        ({"gqa": 3}, None, (3, None)),
        ({"vizwiz": 3}, 4, (4, None)),
        ({"gqa": "full"}, None, (None, None)),
    ],
)
def test_test_samples_of_a_subset(subset, limit, samples):
    assert data(test_subset=subset, limit_test=limit).test_limit("gqa") == samples


def test_a_limit_is_drawn_from_the_listed_ids():
    assert data(test_ids="ids.json", test_subset=3).test_limit("gqa") == (3, Path("ids.json"))
    assert data(test_ids="ids.json", test_subset="ids.json").test_limit("gqa") == (None, Path("ids.json"))
    with pytest.raises(
        ConfigError, match=r"test_ids=ids\.json and protocol\.test_subset=other\.json \(gqa\): give one"
    ):
        data(test_ids="ids.json", test_subset="other.json").test_limit("gqa")


@pytest.mark.parametrize("subset", [0, -1, True, 2.5, None, {"gqa": 0}])
def test_a_subset_that_is_none_is_refused_when_the_task_is_made(subset):
    with pytest.raises(ConfigError, match=r"protocol\.test_subset=.*\(gqa\); give full, a number of samples from 1"):
        made_task("gqa", "data", "GQA", "features", test_subset=subset)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: BatchOptions(size=0), r"batches\.size=0 must be at least 1"),
        (lambda: BatchOptions(epochs=-1), r"batches\.epochs=-1 must be"),
        (lambda: AnswerOptions(batch_size=0), r"answers\.batch_size=0 must be"),
        (lambda: AnswerOptions(max_new_tokens=0), r"answers\.max_new_tokens=0 must be"),
        (
            lambda: AnswerOptions(evaluation_frame="crop"),
            r"answers\.evaluation_frame='crop' is unknown",
        ),
        (lambda: data(repeated_train_ids="keep"), r"data\.repeated_train_ids='keep' is unknown; use refuse or allow"),
        (lambda: data(long_samples="cut"), r"data\.long_samples='cut' is unknown; use refuse or truncate"),
    ],
)
def test_what_cannot_be_is_refused(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


@pytest.mark.parametrize(
    ("frame", "crops", "found"),
    [("as_training", True, None), ("reference_crop", False, None), ("reference_crop", True, "crop")],
)
def test_test_images_of_some_tasks_are_cropped_where_the_protocol_says_so(frame, crops, found):
    assert AnswerOptions(evaluation_frame=frame, reference_crop=crops).frame == found
