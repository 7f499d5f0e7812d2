"""Ground truth of imported answers: by the readers of the tasks, without images."""

import shutil
from pathlib import Path

import pytest

from coin_lightning.config_folder import conf_dir, task_nodes
from coin_lightning.errors import DataError
from coin_lightning.imports.questions import read_questions
from small_coin import FOLDERS, answer_file, edit_samples, write_suite

NODES = task_nodes(conf_dir())


def test_every_task_of_coin_is_read_without_its_images(tmp_path: Path):
    root = write_suite(tmp_path / "suite", train=1)
    shutil.rmtree(root / "cl_dataset" / "shared")
    for task in FOLDERS:
        found = read_questions(root, "Instructions_Original", task, NODES[task])
        assert list(found.references) == list(found.texts) == ["1000", "1001", "1002", "1003"]
        assert found.file == answer_file(root, task)
    assert found.references["1000"] == {"answer": "Poems", "image": "./shared/red.jpg"}


def test_unsound_questions_are_refused(tmp_path: Path):
    root = write_suite(tmp_path / "suite", train=1)
    edit_samples(answer_file(root, "gqa"), lambda samples: samples[1].update(question_id="1000"))
    with pytest.raises(DataError, match="id '1000' is already used by sample 0"):
        read_questions(root, "Instructions_Original", "gqa", NODES["gqa"])
    with pytest.raises(DataError, match="Instructions_10Type/GQA: folder is missing"):
        read_questions(root, "Instructions_10Type", "gqa", NODES["gqa"])
