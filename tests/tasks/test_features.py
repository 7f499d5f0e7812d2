import hashlib
import multiprocessing
from pathlib import Path
from zlib import crc32

import numpy as np
import pytest
import torch

from coin_lightning.assets import file_sha256
from coin_lightning.errors import DataError
from coin_lightning.tasks.features import FeatureStore

WIDTH = 3
SHAPE = (2, WIDTH)
BLOCK = 2 * 3 * 2


def digest(name: object) -> str:
    return hashlib.sha256(str(name).encode()).hexdigest()


def block(value: float) -> torch.Tensor:
    return torch.full((1, *SHAPE), value, dtype=torch.bfloat16)


@pytest.fixture
def store(tmp_path) -> FeatureStore:
    made = FeatureStore(tmp_path / "store", WIDTH)
    made.add([digest(0), digest(1)], torch.cat([block(0), block(1)]))
    return made


def again(store: FeatureStore) -> Path:
    """The folder that a store was opened with."""
    return store.folder.with_name("store")


def line(name: int, start: int) -> str:
    """Of an image whose two tokens are `block(name)`."""
    facts = f"{digest(name)} {start} 2 {crc32(block(name).view(torch.int16).numpy().tobytes()):08x}"
    return f"{facts} {crc32(facts.encode()):08x}\n"


def test_hash_of_a_file(tmp_path):
    (tmp_path / "abc").write_bytes(b"abc")
    assert file_sha256(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_the_files_are_what_the_module_says(store):
    assert store.folder.name == "store-v3"
    assert (store.folder / "index.txt").read_text() == line(0, 0) + line(1, 2)
    raw = np.frombuffer((store.folder / "features.bin").read_bytes(), np.uint16).astype(np.uint32) << 16
    assert raw.view(np.float32).tolist() == [0.0] * 6 + [1.0] * 6  # bfloat16 is the upper half of float32


def test_images_may_have_any_number_of_tokens(store):
    features = [torch.randn(tokens, WIDTH).bfloat16() for tokens in (1, 5, 2, 0, 3)]
    store.add([digest(f"r{at}") for at in range(5)], features)
    for one in (store, FeatureStore(again(store), WIDTH)):
        assert all(torch.equal(one.get(digest(f"r{at}")), features[at]) for at in range(5))
        assert torch.equal(one.get(digest(1)), block(1)[0])


def test_features_of_another_width_are_refused_before_they_shift_the_rest(store):
    before = (store.folder / "features.bin").read_bytes()
    with pytest.raises(DataError, match=r"features of shape \[3, 4\] in a store of width 3; remove the folder"):
        store.add([digest(7)], torch.zeros(1, 3, 4))
    assert (store.folder / "features.bin").read_bytes() == before


def test_a_store_of_the_first_version_is_left_alone(tmp_path):
    """Its folder has the same name without a version, float16 and other lines."""
    old = tmp_path / "store"
    old.mkdir()
    (old / "index.txt").write_text(f"{digest(0)}\n")
    (old / "features.bin").write_bytes(np.full(6, 9, np.float16).tobytes())
    store = FeatureStore(old, WIDTH)
    assert digest(0) not in store
    store.add([digest(0)], block(4))
    assert torch.equal(FeatureStore(old, WIDTH).get(digest(0)), block(4)[0])
    assert sorted(file.name for file in old.iterdir()) == ["features.bin", "index.txt"]
    assert (old / "index.txt").read_text() == f"{digest(0)}\n"


def test_features_come_back_bit_by_bit_also_in_a_new_store(store):
    features = torch.randn(5, *SHAPE).bfloat16()
    store.add([digest(f"f{at}") for at in range(5)], features)
    for one in (store, FeatureStore(again(store), WIDTH)):
        assert len(one) == 7
        assert torch.equal(torch.stack([one.get(digest(f"f{at}")) for at in range(5)]), features)
        assert digest("f0") in one
        assert digest("other") not in one


def test_blocks_are_read_through_a_memory_map_and_copied_out(store):
    assert isinstance(store._tokens, np.memmap)
    taken = store.get(digest(1))
    taken.fill_(9)
    assert torch.equal(store.get(digest(1)), block(1)[0])


def test_unknown_images(tmp_path, store):
    for one in (store, FeatureStore(tmp_path / "empty", WIDTH)):
        with pytest.raises(KeyError, match=digest("x")):
            one.get(digest("x"))


def test_a_image_given_twice_is_kept_once(store):
    store.add([digest(2), digest(2), digest(0)], torch.cat([block(2), block(2), block(7)]))
    store.add([digest(3)], block(3))
    reopened = FeatureStore(again(store), WIDTH)
    assert len(reopened) == 4
    assert [reopened.get(digest(at))[0, 0].item() for at in range(4)] == [0, 1, 2, 3]


def test_a_kill_between_blocks_and_lines_leaves_bytes_that_are_overwritten(store):
    with (store.folder / "features.bin").open("ab") as stream:
        stream.write(b"\xff" * (BLOCK + 5))
    opened = FeatureStore(again(store), WIDTH)
    assert len(opened) == 2
    opened.add([digest(2)], block(2))
    reopened = FeatureStore(again(store), WIDTH)
    assert [reopened.get(digest(at))[0, 0].item() for at in range(3)] == [0, 1, 2]


@pytest.mark.parametrize("kept", [0, 1, 64, 65, 83, 86])
def test_a_kill_within_a_line_loses_that_image_only(store, kept):
    index = store.folder / "index.txt"
    index.write_text(line(0, 0) + line(1, 2)[:kept])
    opened = FeatureStore(again(store), WIDTH)
    assert digest(0) in opened
    assert digest(1) not in opened
    opened.add([digest(5), digest(1)], torch.cat([block(5), block(1)]))
    reopened = FeatureStore(again(store), WIDTH)
    assert index.read_text().endswith("\n" + line(5, 2) + line(1, 4))
    assert [reopened.get(digest(at))[0, 0].item() for at in (0, 5, 1)] == [0, 5, 1]


def test_lines_without_blocks_are_refused_with_the_remedy(store):
    (store.folder / "features.bin").write_bytes(b"\0" * (BLOCK + 1))
    with pytest.raises(DataError, match=r"holds 2 of 4 tokens; remove the folder .*store-v3 and run again"):
        FeatureStore(again(store), WIDTH)


@pytest.mark.parametrize("spoil", ["line end", "line", "digit of a place", "digit of a hash"])
def test_a_damaged_index_never_gives_the_features_of_another_image(store, spoil):
    """A lost line end once moved all later images on by one."""
    store.add([digest(at) for at in range(2, 5)], torch.cat([block(at) for at in range(2, 5)]))
    index = store.folder / "index.txt"
    lines = index.read_text().splitlines(keepends=True)
    lines[1] = {
        "line end": lines[1].rstrip("\n"), "line": "", "digit of a place": lines[1].replace(" 2 2 ", " 4 2 "),
        "digit of a hash": ("0" if lines[1][0] != "0" else "1") + lines[1][1:],
    }[spoil]  # fmt: skip
    index.write_text("".join(lines))
    opened = FeatureStore(again(store), WIDTH)
    lost = {1, 2} if spoil == "line end" else {1}
    for at in range(5):
        if at in lost:
            assert digest(at) not in opened
        else:
            assert torch.equal(opened.get(digest(at)), block(at)[0])
    opened.add([digest(at) for at in lost], torch.cat([block(at) for at in lost]))
    reopened = FeatureStore(again(store), WIDTH)
    assert all(torch.equal(reopened.get(digest(at)), block(at)[0]) for at in range(5))


def test_one_flipped_bit_of_the_features_is_found(store):
    data = store.folder / "features.bin"
    raw = bytearray(data.read_bytes())
    raw[BLOCK + 3] ^= 1
    data.write_bytes(raw)
    opened = FeatureStore(again(store), WIDTH)
    assert torch.equal(opened.get(digest(0)), block(0)[0])
    with pytest.raises(DataError, match=r"features.bin: the features of image .* are not what was written.*Remove the"):
        opened.get(digest(1))


def test_refresh_shows_what_another_store_has_added(store):
    other = FeatureStore(again(store), WIDTH)
    other.add([digest(2)], block(2))
    assert digest(2) not in store
    store.refresh()
    assert torch.equal(store.get(digest(2)), block(2)[0])


def add_twenty(folder: Path, start: int) -> None:
    store = FeatureStore(folder, WIDTH)
    for at in range(start, start + 20):
        with store.adding(1):
            store.add([f"{at:064d}"], block(at))


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_two_processes_add_to_one_store(tmp_path):
    fork = multiprocessing.get_context("fork")
    running = [fork.Process(target=add_twenty, args=(tmp_path / "shared", start)) for start in (0, 20)]
    for process in running:
        process.start()
    for process in running:
        process.join(timeout=250)
    assert [process.exitcode for process in running] == [0, 0]
    store = FeatureStore(tmp_path / "shared", WIDTH)
    assert len(store) == 40
    assert all(store.get(f"{at:064d}").eq(at).all() for at in range(40))


def test_features_that_another_store_added_are_found(tmp_path: Path) -> None:
    early = FeatureStore(tmp_path / "store", WIDTH)
    late = FeatureStore(tmp_path / "store", WIDTH)
    late.add(["a" * 64], torch.full((1, 2, 3), 7.0))
    assert early.get("a" * 64).tolist() == [[7.0] * 3] * 2
    with pytest.raises(KeyError):
        early.get("b" * 64)
