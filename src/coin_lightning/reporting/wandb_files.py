"""Reading what W&B wrote to disk: a LevelDB log of protocol buffers, in blocks, behind a head of seven bytes.

The format is that of `run-<id>.wandb` of wandb 0.13 to 0.31; the library has no reader of its own any more.
"""

import os
import shutil
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

BLOCK, HEAD = 32768, 7
WHOLE, LAST = 1, 4


def parts_of(folder: Path) -> list[Path]:
    """The files of a run's starts, offline or online, below the folder `wandb`, oldest first."""
    return sorted(folder.glob("*run-*/run-*.wandb"), key=lambda file: file.parent.name.split("run-", 1)[1])


def read_records(file: Path) -> Iterator[Any]:
    """Its records (`wandb_internal_pb2.Record`), up to where the writing process was killed."""
    return (record for record, _ in _records(file))


def mend(folder: Path) -> None:
    """Make `wandb sync` take what killed processes have left below the folder `wandb`: it gives up all parts of a run
    for one that is empty or ends in the middle of a record. Nobody may be writing there.
    """
    for file in parts_of(folder):
        records = list(_records(file))
        if not any(record.HasField("run") for record, _ in records):
            shutil.rmtree(file.parent)
        elif file.stat().st_size > (end := records[-1][1]):
            os.truncate(file, end)


def wait_until_written(folder: Path, seconds: float = 5.0) -> None:
    """Wait for the end of the last start: W&B's process writes it a moment after it says that it has. `mend` would take
    that for a kill.
    """
    end = time.monotonic() + seconds
    for file in parts_of(folder)[-1:]:
        while time.monotonic() < end and not any(record.HasField("exit") for record in read_records(file)):
            time.sleep(0.02)


def _records(file: Path) -> Iterator[tuple[Any, int]]:
    """Records, each with the place where it ends."""
    from google.protobuf.message import DecodeError
    from wandb.proto import wandb_internal_pb2

    make: Any = wandb_internal_pb2.Record  # type: ignore[attr-defined]
    data, at, parts = file.read_bytes(), HEAD, b""
    while at + HEAD <= len(data):
        if BLOCK - at % BLOCK < HEAD:  # no room for a head: the block is filled up
            at += BLOCK - at % BLOCK
            continue
        length, kind = struct.unpack_from("<HB", data, at + 4)  # behind a checksum
        piece = data[at + HEAD : at + HEAD + length]
        if len(piece) < length or not kind:
            return
        parts, at = parts + piece, at + HEAD + length
        if kind in (WHOLE, LAST):
            record = make()
            try:
                record.ParseFromString(parts)
            except DecodeError:
                return
            parts = b""
            yield record, at


def last_step(folder: Path) -> int:
    """W&B's own step of the last values in any of a run's files; -1 where there are none."""
    found = (
        record.history.step.num
        for file in parts_of(folder)
        for record in read_records(file)
        if record.WhichOneof("record_type") == "history"
    )
    return max(found, default=-1)
