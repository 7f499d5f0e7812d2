"""Which answers the report shows, and the small images beside them."""

import base64
import io
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from coin_lightning.backbones.box_formats import BoxFormat
from coin_lightning.reporting.examples import GROUPS, choose, collect_examples, group_of, reference_text, thumbnail
from coin_lightning.reporting.run_artifacts import load_run

MakeRun = Callable[..., Path]


@pytest.mark.parametrize(
    ("before", "after", "group"),
    [(1, 0, "forgotten"), (0.3, 0.6, "gained"), (0.5, 1, "kept"), (0, 0.49, "wrong both times")],
)
def test_group(before: float, after: float, group: str) -> None:
    assert group_of(before, after) == group


def groups(forgotten: int, gained: int, kept: int, wrong: int) -> dict[str, list[str]]:
    counts = dict(zip(GROUPS, (forgotten, gained, kept, wrong), strict=True))
    return {name: [f"{name}{i}" for i in range(count)] for name, count in counts.items()}


def test_half_changed_half_not_taking_turns() -> None:
    assert choose(groups(9, 1, 9, 9), 6) == ["forgotten0", "gained0", "forgotten1", "wrong both times0", "kept0",
                                            "wrong both times1"]  # fmt: skip


def test_one_half_fills_up_for_the_other() -> None:
    assert choose(groups(9, 0, 1, 0), 4) == ["forgotten0", "forgotten1", "forgotten2", "kept0"]
    assert choose(groups(0, 0, 2, 1), 10) == ["wrong both times0", "kept0", "kept1"]


def test_collected_examples_agree_with_the_matrix(make_run: MakeRun) -> None:
    run = load_run(make_run(answers=20))
    found = collect_examples(run, "textvqa", limit=10)
    assert found is not None
    assert sum(found.counts.values()) == 20
    assert found.counts["forgotten"] + found.counts["kept"] == round(run.matrix.immediate[1] / 5)
    assert found.counts["gained"] + found.counts["kept"] == round(run.matrix.final[1] / 5)
    assert len(found.examples) == 10
    assert all(
        (example.score_before, example.score_after) != (1, 1) or example.group == "kept" for example in found.examples
    )
    assert "<image>" not in found.examples[0].prompt
    assert found == collect_examples(run, "textvqa", limit=10)


def test_untrained_task_has_no_examples_and_last_task_no_change(make_run: MakeRun) -> None:
    run = load_run(make_run(finished=2, answers=6))
    assert collect_examples(run, "ocrvqa") is None
    last = collect_examples(run, "textvqa")
    assert last is not None
    assert not last.changes_possible
    assert last.counts["forgotten"] == last.counts["gained"] == 0


def decode(uri: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(uri.removeprefix("data:image/jpeg;base64,"))))


def test_thumbnail_is_small_and_stays_inside_the_folder(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    Image.new("RGBA", (400, 200), "red").save(tmp_path / "data" / "a.png")
    Image.new("RGB", (40, 20), "red").save(tmp_path / "outside.png")
    (tmp_path / "data" / "broken.png").write_bytes(b"no image")
    record = {"prediction": "", "reference": {"image": "./a.png"}}
    uri = thumbnail(tmp_path / "data", record, record)
    assert uri is not None
    assert decode(uri).size == (112, 56)
    assert thumbnail(tmp_path / "data", record, record) == uri
    Image.new("RGB", (200, 400), "blue").save(tmp_path / "data" / "a.png")  # drawn anew
    uri = thumbnail(tmp_path / "data", record, record)
    assert uri is not None
    assert decode(uri).size == (56, 112)
    for name in ("../outside.png", "broken.png", "missing.png"):
        other = {"prediction": "", "reference": {"image": name}}
        assert thumbnail(tmp_path / "data", other, other) is None
    assert thumbnail(None, record, record) is None


def test_a_thumbnail_shows_a_deep_image_as_the_model_sees_it(tmp_path: Path) -> None:
    Image.new("I;16", (40, 40), 25700).save(tmp_path / "deep.png")
    record = {"prediction": "", "reference": {"image": "deep.png"}}
    uri = thumbnail(tmp_path, record, record)
    assert uri is not None
    assert decode(uri).getpixel((5, 5)) == (100, 100, 100)


def test_grounding_boxes_are_drawn_in_the_padded_frame(tmp_path: Path) -> None:
    Image.new("RGB", (112, 56), "black").save(tmp_path / "a.png")
    record = {"prediction": "nothing", "reference": {"image": "a.png", "answer_bbox": "[0.5,0.375,1.0,0.625]"}}
    uri = thumbnail(tmp_path, record, record)
    assert uri is not None
    image = decode(uri).convert("L")  # padded side 112, 28 rows above: the box is x 56-112, y 14-42
    assert image.getpixel((80, 14)) > 150  # type: ignore[operator]
    assert image.getpixel((20, 14)) < 60  # type: ignore[operator]
    assert image.getpixel((80, 28)) < 60  # type: ignore[operator]


@pytest.mark.parametrize("numbers", ["unit", "thousand", "percent_tags"])
@pytest.mark.parametrize("frame", ["padded", "squashed"])
def test_boxes_are_drawn_where_the_model_means_them(tmp_path: Path, frame: str, numbers: str) -> None:
    """The answer is right, in the model's own notation: its line covers that of the truth."""
    Image.new("RGB", (112, 56), "black").save(tmp_path / "a.png")
    settings, box = {"frame": frame, "numbers": numbers}, (0.5, 0.375, 1.0, 0.625)
    reference = {"image": "a.png", "answer_bbox": "[0.5,0.375,1.0,0.625]", "box_format": settings, "size": [112, 56]}
    record = {"prediction": BoxFormat(**settings).write(box, (112, 56)), "reference": reference}
    uri = thumbnail(tmp_path, record, record)
    assert uri is not None
    red, green, blue = decode(uri).convert("RGB").getpixel((80, 14))  # type: ignore[misc]
    assert red > 150 > green > blue  # orange


def test_reference_text() -> None:
    assert reference_text({"answer": "B", "choices": ["iron", "wood"], "answer_index": 1}) == "B (wood)"
    assert reference_text({"answer_bbox": "[0,0,1,1]", "answer": "x"}) == "[0,0,1,1]"
