"""Names of folders as they were seen in the history of CoIN's repository and in forks."""

import pytest

from coin_lightning.config_folder import coin_order, conf_dir, task_nodes
from coin_lightning.imports.spellings import JOINT, OWN, ZERO_SHOT, position_of, stage_of, task_of

NODES = task_nodes(conf_dir())


@pytest.mark.parametrize(
    ("name", "task"),
    [
        ("ImageNet", "imagenet"), ("3_ImageNet", "imagenet"), ("OCRVQA", "ocrvqa"), ("OCR-VQA", "ocrvqa"),
        ("8_ocr_vqa", "ocrvqa"), ("VQAv2", "vqav2"), ("7_vqav2", "vqav2"), ("Grounding", "grounding"),
        ("RefCOCO", "grounding"), ("SQA", "scienceqa"), ("VisualGenome", None), ("Instructions", None), ("", None),
    ],
)  # fmt: skip
def test_tasks(name: str, task: str | None):
    assert task_of(name, NODES) == task


@pytest.mark.parametrize(
    ("name", "stage"),
    [
        ("Finetune", OWN), ("finetune", OWN), ("fine-tune", OWN), ("ImageNet", OWN), ("Zero_shot", ZERO_SHOT),
        ("Zero_Shot", ZERO_SHOT), ("zero-shot", ZERO_SHOT), ("Multitask", JOINT), ("GQA", "gqa"), ("HiDe-task3", 3),
        ("Task8", 8), ("task_2", 2), ("multitask3", None), ("VisualGenome", None),
    ],
)  # fmt: skip
def test_stages_of_imagenet(name: str, stage: str | int | None):
    assert stage_of(name, "imagenet", NODES) == stage


def test_positions_are_rows_of_the_matrix():
    order = ["textvqa", "imagenet", "gqa"]
    assert [position_of("imagenet", stage, order) for stage in (ZERO_SHOT, OWN, "gqa", 3, 0, JOINT)] == [
        0,
        2,
        3,
        3,
        0,
        3,
    ]
    assert [position_of("imagenet", stage, order) for stage in (4, "vizwiz")] == [None, None]


def test_the_order_of_coin():
    assert coin_order() == [
        "scienceqa", "textvqa", "imagenet", "gqa", "vizwiz", "grounding", "vqav2", "ocrvqa"
    ]  # fmt: skip
