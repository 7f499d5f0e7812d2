"""The benchmark of the data check on a few images."""

import json

import pytest


def test_all_sides_look_at_the_same_images(script, tmp_path, capsys):
    verify = script("verify")
    out = tmp_path / "out.json"
    verify.main(["--images", "24", "--rounds", "2", "--workers", "2", "--backbone", "tiny", "--out", str(out)])
    content = json.loads(out.read_text())
    assert (content["images"], content["samples"]) == (24, {"train": 21, "test": 3})
    assert content["questions"] == 21 * 6 + 3
    assert content["backbone"] == "tiny"
    assert 50_000 < content["image_bytes"] < 300_000  # COCO's have about 160 kB
    times = content["seconds"]
    assert {name: len(seconds) for name, seconds in times.items()} == {
        "decode only": 2, "verify, first call": 2, "verify, second call": 2
    }  # fmt: skip
    quotients = [a / b for a, b in zip(times["verify, first call"], times["decode only"], strict=True)]
    assert content["verify_over_decode"] == pytest.approx(sum(quotients) / 2)
    assert "verify, second call" in capsys.readouterr().out


def test_every_image_is_another_file_and_none_is_in_both_splits(script, tmp_path):
    verify = script("verify")
    paths = verify.write_task(tmp_path, 40)
    assert len({(tmp_path / "cl_dataset" / path).read_bytes() for path in paths}) == 40
    folder = tmp_path / "Instructions_Original" / "GQA"
    used = [
        [sample["image"] for sample in json.loads((folder / name).read_text())] for name in ("train.json", "test.json")
    ]
    assert sorted(used[0] + used[1]) == sorted(paths)
    assert [len(part) for part in used] == [35, 5]


def test_bare_decoding_sees_every_pixel(script, tmp_path):
    verify = script("verify")
    images = verify.write_images(tmp_path / "images", 5)
    assert verify.decode_all(tmp_path / "images", images, 2) == 5 * 640 * 480
