"""The made-up file has CoIN's form and proportions."""

import json
import os
from collections import Counter

from coin_lightning.tasks.rows import read_train


def test_rows_are_those_of_a_task_and_images_are_links(script, tmp_path):
    sized = script("coin_sized")
    file = sized.write(tmp_path, 4000, 50)
    rows = read_train(file, tmp_path / "cl_dataset")
    assert len(rows) == 4000
    assert len(rows.images) == 50
    assert os.stat(tmp_path / "cl_dataset" / rows.images[0]).st_nlink == 50
    kinds = Counter(id_.rsplit("_", 1)[0] for id_ in rows.ids)
    assert abs(kinds["OCR-VQA"] / 4000 - 166_043 / 574_012) < 0.03
    turns = [len(row.turns) for row in rows if row.id.startswith("GQA")]
    assert 11 < sum(turns) / len(turns) < 15
    assert any(row.image is None for row in rows)
    assert any(not row.turns[0].question.isascii() for row in rows)


def test_the_same_seed_gives_the_same_file(script, tmp_path):
    sized = script("coin_sized")
    first, again = (json.dumps(list(sized.rows(50, ["a.jpg"], seed=3))) for _ in range(2))
    assert first == again != json.dumps(list(sized.rows(50, ["a.jpg"], seed=4)))
