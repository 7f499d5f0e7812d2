"""Plain data is read as Python's own unpickler reads it; hostile pickles are refused by name and never run."""

import array
import builtins
import collections
import contextlib
import os
import pickle
import subprocess
import tracemalloc
from pathlib import Path
from random import Random

import numpy
import pytest

from coin_lightning.benchmarks.coin.restricted_pickle import PlainPickleError, load_plain, loads_plain
from coin_lightning.errors import DataError

REFERENCE = {
    "sent_ids": [0, 1, 2],
    "file_name": "COCO_train2014_000000581857_16.jpg",
    "ann_id": 1719310,
    "split": "train",
    "sentences": [
        {"tokens": ["the", "lady"], "raw": "THE LADY", "sent_id": 0, "sent": "the lady"},
        {"tokens": [], "raw": 'caf\xe9 "x"', "sent_id": 1, "sent": "caf\xe9"},
    ],
    "extra": (None, True, False, -1.5, 2**40, (1,), (1, 2, 3, 4), {}),
}

# As Python 2 writes it: protocol 0 of cPickle with byte strings, a unicode text and a long; then protocol 2.
PYTHON2_PROTOCOL0 = (
    b"(lp1\n(dp2\nS'sent_ids'\np3\n(lp4\nI0\naI1\nasS'split'\np5\nS'train'\np6\nsS'sentences'\np7\n(lp8\n"
    b"(dp9\nS'raw'\np10\nS'it\\'s \"big\"'\np11\nsS'sent'\np12\nVcaf\\u00e9\np13\nsS'sent_id'\np14\nL7L\nsasa(dp15\n"
    b"g5\ng6\nsg14\nF0.5\nsa."
)
PYTHON2_PROTOCOL2 = (
    b"\x80\x02]q\x01(}q\x02(U\x08sent_idsq\x03]q\x04(K\x00K\x01eU\x05splitq\x05U\x05trainq\x06U\x09sentencesq\x07]q\x08"
    b'}q\x09(U\x03rawq\x0aU\x0ait\'s "big"q\x0bU\x04sentq\x0cX\x05\x00\x00\x00caf\xc3\xa9q\x0dU\x07sent_idq\x0e\x8a\x01'
    b"\x07uau}q\x0f(h\x05h\x06h\x0eG?\xe0\x00\x00\x00\x00\x00\x00ue."
)
PYTHON2_VALUE = [
    {
        "sent_ids": [0, 1],
        "split": "train",
        "sentences": [{"raw": 'it\'s "big"', "sent": "café", "sent_id": 7}],
    },
    {"split": "train", "sent_id": 0.5},
]


@pytest.mark.parametrize("protocol", range(6))
def test_plain_data_of_every_protocol(tmp_path, protocol):
    file = tmp_path / "refs(unc).p"
    data = [{**REFERENCE, "ref_id": number} for number in range(300)]
    file.write_bytes(pickle.dumps(data, protocol))
    assert load_plain(file) == data


@pytest.mark.parametrize("program", [PYTHON2_PROTOCOL0, PYTHON2_PROTOCOL2])
def test_files_of_python_2(program):
    assert loads_plain(program) == PYTHON2_VALUE
    assert pickle.loads(program, encoding="utf-8") == PYTHON2_VALUE  # the hand-written programs are sound


@pytest.mark.parametrize(
    ("program", "value"),
    [
        (b"N", None),
        (b"\x88", True),
        (b"\x89", False),
        (b"I01\n", True),
        (b"I00\n", False),
        (b"I-17\n", -17),
        (b"L12345678901234567890L\n", 12345678901234567890),
        (b"J\xfe\xff\xff\xff", -2),
        (b"K\xff", 255),
        (b"M\x00\x01", 256),
        (b"\x8a\x02\x00\xff", -256),
        (b"\x8a\x00", 0),
        (b"F1.5\n", 1.5),
        (b"G\xbf\xf0\x00\x00\x00\x00\x00\x00", -1.0),
        (b"S'caf\\xc3\\xa9 \\'x\\' \\\\n'\n", "café 'x' \\n"),
        (b'S"it\'s"\n', "it's"),
        (b"U\x03abc", "abc"),
        (b"T\x03\x00\x00\x00abc", "abc"),
        (b"Vcaf\\u00e9\n", "café"),
        (b"X\x02\x00\x00\x00\xc3\xa9", "é"),
        (b"\x8c\x01a", "a"),
        (b"\x8d\x01\x00\x00\x00\x00\x00\x00\x00a", "a"),
        (b"C\x02\x00\xff", b"\x00\xff"),
        (b"(K\x01K\x02t", (1, 2)),
        (b"K\x01K\x02K\x03\x87", (1, 2, 3)),
        (b")", ()),
        (b"(K\x01l", [1]),
        (b"](K\x01K\x02e", [1, 2]),
        (b"]K\x07a", [7]),
        (b"}(U\x01aK\x01U\x01bK\x02u", {"a": 1, "b": 2}),
        (b"}U\x01aNs", {"a": None}),
        (b"(U\x01aK\x05d", {"a": 5}),
        (b"K\x01K\x020", 1),
        (b"K\x01(K\x02K\x031", 1),
        (b"\x95\x08\x00\x00\x00\x00\x00\x00\x00K\x09", 9),
    ],
)
def test_instruction_gives(program, value):
    found = loads_plain(program + b".")
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    "program",
    [b"e.", b"K\x01K\x02a.", b"K\x01U\x01aK\x02s.", b"}(U\x01au.", b"](a.", b"0.", b"S'abc\n.", b"\x80\x09.", b"h\x05.",
     b"I" + b"9" * 5000 + b"\n.", b"."],
)  # fmt: skip
def test_what_makes_no_sense_is_malformed(program):
    with pytest.raises(PlainPickleError, match="malformed"):
        loads_plain(program)


def test_keys_are_texts():
    with pytest.raises(PlainPickleError, match="a key is no text"):
        loads_plain(pickle.dumps([{1: "a"}]))


class Payload:
    """Unpickling calls `function(*arguments)`."""

    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments


def hostile(marker: Path) -> dict[str, object]:
    """Objects whose pickles do harm or name a class, by the global that must be refused; harm would make `marker`."""
    command = f"touch {marker}"
    return {
        "posix.system": Payload(os.system, command),
        "Popen": Payload(subprocess.Popen, ["touch", str(marker)]),
        "eval": Payload(builtins.eval, f"open({str(marker)!r}, 'w')"),
        "exec": Payload(builtins.exec, f"open({str(marker)!r}, 'w')"),
        "open": Payload(open, str(marker), "w"),
        "getattr": Payload(getattr, "text", "upper"),
        "_reconstruct": numpy.arange(3),
        "OrderedDict": collections.OrderedDict(a=1),
        "array": array.array("i", [1]),
        "complex": 1j,
        "bytearray": bytearray(b"x"),
        "PosixPath": marker,
        "Payload": Payload,
    }


NAMES = list(hostile(Path("x")))


@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize("name", NAMES)
def test_hostile_pickle_is_refused_by_name_and_runs_nothing(tmp_path, name, protocol):
    marker, file = tmp_path / "ran", tmp_path / "refs(unc).p"
    program = pickle.dumps([{"ref_id": 1}, hostile(marker)[name]], protocol)
    file.write_bytes(program)
    with pytest.raises(DataError, match=rf"refs\(unc\)\.p: global \S*{name}\S* is refused.*nothing of it was run"):
        load_plain(file)
    assert not marker.exists()


def test_these_payloads_would_have_run(tmp_path):
    """The control: Python's own unpickler obeys them."""
    marker = tmp_path / "ran"
    pickle.loads(pickle.dumps(Payload(os.system, f"touch {marker}")))
    assert marker.exists()


@pytest.mark.parametrize(
    ("program", "message"),
    [
        (b"(S'touch {marker}'\nios\nsystem\n.", "global os.system is refused"),
        (b"cos\nsystem\n(S'touch {marker}'\ntR.", "global os.system is refused"),
        (b"c__builtin__\neval\n(S'1'\ntR.", "global __builtin__.eval is refused"),
        (b"ccopy_reg\n_reconstructor\n(", "global copy_reg._reconstructor is refused"),
        (b"\x8c\x02os\x8c\x06system\x93\x8c\x04true\x85R.", "global os.system is refused"),
        (b"]q\x00]\x93.", "malformed"),
        (b"\x93.", "malformed"),
        (b"c\x1b[31mos\nsystem\n.", r"global '\\x1b\[31mos.system' is refused"),
        (b"U\x02os(U\x04trueo.", "instruction OBJ is refused"),
        (b"]]b.", "instruction BUILD is refused"),
        (b"])\x81.", "instruction NEWOBJ is refused"),
        (b"])}\x92.", "instruction NEWOBJ_EX is refused"),
        (b"]R.", "instruction REDUCE is refused"),
        (b"\x82\x01.", "instruction EXT1 is refused"),
        (b"Pname\n.", "instruction PERSID is refused"),
        (b"]Q.", "instruction BINPERSID is refused"),
        (b"\x97.", "instruction NEXT_BUFFER is refused"),
        (b"\x8b\xff\xff\xff\x7f.", "instruction LONG4 is refused"),
        (b"\xff.", "malformed"),
    ],
)
def test_instructions_by_hand_are_refused(tmp_path, program, message):
    marker = tmp_path / "ran"
    with pytest.raises(PlainPickleError, match=message):
        loads_plain(program.replace(b"{marker}", str(marker).encode()))
    assert not marker.exists()


def test_deep_nesting_and_circles_are_refused():
    levels = 100_000
    for program in (b"]" * levels + b"a" * (levels - 1) + b".", b"]q\x00h\x00a.", b"}q\x00U\x01ah\x00s."):
        with pytest.raises(PlainPickleError, match="nest more than 16 deep"):
            loads_plain(program)
    assert loads_plain(b"]" * 16 + b"a" * 15 + b".") != []


def test_shared_parts_do_not_unfold_without_measure():
    part: list = []
    for _ in range(4):
        part = [part] * 1000
    with pytest.raises(PlainPickleError, match="unfolds to more than 10000000 values"):
        loads_plain(pickle.dumps(part))


@pytest.mark.parametrize(
    "program",
    [b"]r\xff\xff\xff\x7f.", b"\x8e\xff\xff\xff\xff\xff\xff\xff\x00x.", b"\x95\xff\xff\xff\xff\xff\xff\xff\x00].",
     b"(" * 1000 + b"l" * 1000 + b"."],
)  # fmt: skip
def test_great_numbers_in_a_small_file_take_no_memory(program):
    tracemalloc.start()
    with contextlib.suppress(PlainPickleError):
        loads_plain(program)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2**20


def test_a_large_file_is_refused_unread(tmp_path):
    file = tmp_path / "refs(unc).p"
    file.write_bytes(b"\x80" * 2000)
    with pytest.raises(DataError, match=r"2000 bytes are more than the 1000 allowed"):
        load_plain(file, max_bytes=1000)


def test_missing_and_unreadable_files_are_named(tmp_path):
    with pytest.raises(DataError, match=r"refs\(google\)\.p: file is missing"):
        load_plain(tmp_path / "refs(google).p")
    with pytest.raises(DataError, match="cannot be read"):
        load_plain(tmp_path)


def test_every_cut_and_random_bytes_end_in_the_same_error():
    random = Random(0)
    for program in (PYTHON2_PROTOCOL0, PYTHON2_PROTOCOL2, pickle.dumps([REFERENCE], 4)):
        for cut in range(len(program)):
            with pytest.raises(PlainPickleError):
                loads_plain(program[:cut])
        for _ in range(1000):
            changed = bytearray(program)
            for _ in range(random.randint(1, 4)):
                changed[random.randrange(len(changed))] = random.randrange(256)
            with contextlib.suppress(PlainPickleError):
                loads_plain(bytes(changed))
