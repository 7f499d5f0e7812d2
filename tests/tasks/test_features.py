import hashlib
import multiprocessing
from pathlib import Path

import numpy as np
import pytest
import torch

from coin_lightning.assets import file_sha256
from coin_lightning.errors import DataError
from coin_lightning.tasks.features import FeatureStore

SHAPE = (2, 3)
BLOCK = 2 * 3 * 2


def digest(name: object) -> str:
    return hashlib.sha256(str(name).encode()).hexdigest()


def block(value: float) -> torch.Tensor:
    return torch.full((1, *SHAPE), value, dtype=torch.float16)


@pytest.fixture
def store(tmp_path) -> FeatureStore:
    made = FeatureStore(tmp_path / "store", SHAPE)
    made.add([digest(0), digest(1)], torch.cat([block(0), block(1)]))
    return made


def test_hash_of_a_file(tmp_path):
    (tmp_path / "abc").write_bytes(b"abc")
    assert file_sha256(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_the_files_are_what_the_module_says(store):
    assert (store.folder / "index.txt").read_text() == f"{digest(0)}\n{digest(1)}\n"
    held = np.frombuffer((store.folder / "features.bin").read_bytes(), np.float16).reshape(2, *SHAPE)
    assert held[0].tolist() == [[0] * 3] * 2
    assert held[1].tolist() == [[1] * 3] * 2


def test_features_of_another_shape_are_refused_before_they_shift_the_rest(store):
    before = (store.folder / "features.bin").read_bytes()
    with pytest.raises(DataError, match=r"features of shape \[3, 3\] in a store of \[2, 3\]; the tower's tokens"):
        store.add([digest(7)], torch.zeros(1, 3, 3))
    assert (store.folder / "features.bin").read_bytes() == before


def test_features_come_back_bit_by_bit_also_in_a_new_store(store):
    features = torch.randn(5, *SHAPE).half()
    store.add([digest(f"f{at}") for at in range(5)], features)
    for one in (store, FeatureStore(store.folder, SHAPE)):
        assert len(one) == 7
        assert torch.equal(torch.stack([one.get(digest(f"f{at}")) for at in range(5)]), features)
        assert digest("f0") in one
        assert digest("other") not in one


def test_blocks_are_read_through_a_memory_map_and_copied_out(store):
    assert isinstance(store._blocks, np.memmap)
    taken = store.get(digest(1))
    taken.fill_(9)
    assert torch.equal(store.get(digest(1)), block(1)[0])


def test_unknown_pictures(tmp_path, store):
    for one in (store, FeatureStore(tmp_path / "empty", SHAPE)):
        with pytest.raises(KeyError, match=digest("x")):
            one.get(digest("x"))


def test_a_picture_given_twice_is_kept_once(store):
    store.add([digest(2), digest(2), digest(0)], torch.cat([block(2), block(2), block(7)]))
    store.add([digest(3)], block(3))
    again = FeatureStore(store.folder, SHAPE)
    assert len(again) == 4
    assert [again.get(digest(at))[0, 0].item() for at in range(4)] == [0, 1, 2, 3]


def test_a_kill_between_blocks_and_lines_leaves_bytes_that_are_overwritten(store):
    with (store.folder / "features.bin").open("ab") as stream:
        stream.write(b"\xff" * (BLOCK + 5))
    opened = FeatureStore(store.folder, SHAPE)
    assert len(opened) == 2
    opened.add([digest(2)], block(2))
    again = FeatureStore(store.folder, SHAPE)
    assert [again.get(digest(at))[0, 0].item() for at in range(3)] == [0, 1, 2]


@pytest.mark.parametrize("kept", [0, 1, 63, 64])
def test_a_kill_within_a_line_loses_that_picture_only(store, kept):
    index = store.folder / "index.txt"
    index.write_text(f"{digest(0)}\n{digest(1)[:kept]}")
    opened = FeatureStore(store.folder, SHAPE)
    assert digest(0) in opened
    assert digest(1) not in opened
    opened.add([digest(5), digest(1)], torch.cat([block(5), block(1)]))
    again = FeatureStore(store.folder, SHAPE)
    assert index.read_text() == "".join(f"{digest(at)}\n" for at in (0, 5, 1))
    assert [again.get(digest(at))[0, 0].item() for at in (0, 5, 1)] == [0, 5, 1]


def test_lines_without_blocks_are_refused_with_the_remedy(store):
    (store.folder / "features.bin").write_bytes(b"\0" * (BLOCK + 1))
    with pytest.raises(DataError, match=r"holds 1 of 2 features; remove the folder .*store and run again"):
        FeatureStore(store.folder, SHAPE)


def test_refresh_shows_what_another_store_has_added(store):
    other = FeatureStore(store.folder, SHAPE)
    other.add([digest(2)], block(2))
    assert digest(2) not in store
    store.refresh()
    assert torch.equal(store.get(digest(2)), block(2)[0])


def add_twenty(folder: Path, start: int) -> None:
    store = FeatureStore(folder, SHAPE)
    for at in range(start, start + 20):
        with store.lock():
            store.refresh()
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
    store = FeatureStore(tmp_path / "shared", SHAPE)
    assert len(store) == 40
    assert all(store.get(f"{at:064d}").eq(at).all() for at in range(40))


def test_features_that_another_store_added_are_found(tmp_path: Path) -> None:
    early = FeatureStore(tmp_path / "store", (2, 3))
    late = FeatureStore(tmp_path / "store", (2, 3))
    late.add(["a" * 64], torch.full((1, 2, 3), 7.0))
    assert early.get("a" * 64).tolist() == [[7.0] * 3] * 2
    with pytest.raises(KeyError):
        early.get("b" * 64)
