"""Files as other tools write them: read where that is plain, else refused with a remedy that works."""

import json
import re
import subprocess
from pathlib import Path

import pytest

from coin_lightning.cli import data_verify
from small_coin import answer_file, edit_samples, overrides, train_file, write_suite

TASKS = "gqa,imagenet"


def test_a_byte_order_mark_and_json_lines_are_read(place, tmp_path: Path):
    root = write_suite(tmp_path / "suite", train=4, test=2)
    truth = root / "cl_dataset" / "GQA" / "testdev_balanced_questions.json"
    for file in (train_file(root, "gqa"), answer_file(root, "gqa"), truth):
        file.write_text(file.read_text(), encoding="utf-8-sig")
    for file in (train_file(root, "imagenet"), answer_file(root, "imagenet")):
        file.write_text("".join(json.dumps(sample) + "\n" for sample in json.loads(file.read_text())))
    status, text = place.runs.run(overrides(root, place.cache, tmp_path / "run", tasks=TASKS))
    assert status == 0, text


@pytest.mark.parametrize("encoding", ["gb18030", "utf-16"])
def test_another_encoding_is_named_with_the_command_that_mends_it(tmp_path: Path, capsys, encoding):
    root = write_suite(tmp_path / "suite", train=4, test=2)
    edit_samples(train_file(root, "gqa"), lambda samples: samples[0]["conversations"][1].update(value="\u7ea2\u8272"))
    samples = json.loads(train_file(root, "gqa").read_text())
    train_file(root, "gqa").write_bytes(json.dumps(samples, ensure_ascii=False).encode(encoding))
    command = overrides(root, tmp_path / "features", tmp_path / "run", f"output={tmp_path / 'page.html'}", tasks=TASKS)
    verify = [each for each in command if not each.startswith("run_dir")]

    def problems() -> list[str]:
        data_verify.main([*verify, "tolerate=shared_question"])
        tasks = json.loads((tmp_path / "page.json").read_text())["tasks"]
        return [
            line
            for task in tasks
            for each in task["findings"]
            if each["kind"] == "samples"
            for line in each["examples"]
        ]

    (line,) = problems()
    assert f"GQA/train.json: is no UTF-8, probably {encoding.upper()}; convert it with: " in line
    subprocess.run(["bash", "-c", line.split("convert it with: ")[1]], check=True)
    assert problems() == []
    assert (
        json.loads(train_file(root, "gqa").read_text(encoding="utf-8-sig"))[0]["conversations"][1]["value"]
        == "\u7ea2\u8272"
    )


def test_turns_of_other_projects_are_refused_by_a_run(place, tmp_path: Path):
    root = write_suite(tmp_path / "suite", train=4, test=2)

    def change(samples):
        samples[0]["conversations"].insert(0, {"from": "system", "value": "Be good."})
        samples[1]["conversations"][0]["from"] = "user"

    edit_samples(train_file(root, "gqa"), change)
    status, text = place.runs.run(overrides(root, place.cache, tmp_path / "run", tasks="gqa"))
    assert status == 1
    assert re.search(r"GQA/train\.json sample 0: field 'conversations' has a system turn; remove it", text)
    assert re.search(
        r"GQA/train\.json sample 1: field 'conversations' has speakers 'user'; write 'human' and 'gpt'", text
    )


@pytest.mark.parametrize("declared", [True, False])
def test_images_within_a_parquet_file_are_refused(place, tmp_path: Path, declared):
    datasets = pytest.importorskip("datasets")
    root = write_suite(tmp_path / "suite", train=4, test=2)
    image = {"bytes": (root / "cl_dataset" / "shared" / "red.jpg").read_bytes(), "path": None}
    for split in ("train", "test"):
        file = train_file(root, "imagenet").with_name(f"{split}.json")
        samples = [{**sample, "image": image} for sample in json.loads(file.read_text())]
        data = datasets.Dataset.from_list(samples)
        data = data.cast_column("image", datasets.Image()) if declared else data
        data.to_parquet(file.with_suffix(".parquet"))
    source = ["source=datasets", f"source.path={root}"]
    status, text = place.runs.run(overrides(root, place.cache, tmp_path / "run", *source, tasks="imagenet"))
    assert status == 1
    said = "column 'image' holds Image data itself; write them to files" if declared else "found the image itself"
    assert said in text
    assert "Traceback" not in text
