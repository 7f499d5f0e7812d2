"""Single instructions, written by hand from the documentation of the format (`pickletools`)."""

import pytest

from coin_lightning.benchmarks.coin.pickle_machine import INSTRUCTIONS, Machine, PlainPickleError


def run(program: bytes) -> list:
    """The stack after running `program`."""
    machine = Machine(program)
    while machine.at < len(program):
        INSTRUCTIONS[machine.take(1)](machine)
    return machine.stack


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
    (found,) = run(program)
    assert found == value
    assert type(found) is type(value)


def test_memo_gives_the_same_object_back():
    first, second, third = run(b"]q\x05h\x05r\xff\xff\xff\xffj\xff\xff\xff\xff")
    assert first is second is third
    assert run(b"]\x94h\x00") == [[], []]
    assert run(b"(lp7\ng7\n") == [[], []]


@pytest.mark.parametrize(
    ("program", "message"),
    [
        (b"K", "ends in the middle of a value"),
        (b"I5", "ends in the middle of a line"),
        (b"\x8e\xff\xff\xff\xff\xff\xff\xff\x7fab", "ends in the middle of a value"),
        (b"e", "has no beginning"),
        (b"K\x01a", "a value is missing|no list"),
        (b"K\x01K\x02a", "no list"),
        (b"K\x01U\x01aK\x02s", "no dict"),
        (b"}(U\x01au", "a key has no value"),
        (b"}K\x01K\x02s", "a key is no text"),
        (b"](a", "a value is missing"),
        (b"q\x00", "nothing to remember"),
        (b"(q\x00", "nothing to remember"),
        (b"0", "nothing to drop"),
        (b"S'abc\n", "no quotes"),
        (b"S'a\\q'\n", "escape"),
        (b"I" + b"9" * 5000 + b"\n", "a number of 5000 digits"),
        (b"\x8a\xff" + bytes(255), "a number of 255 bytes"),
        (b"\x80\x09", "newer"),
    ],
)
def test_malformed_instruction_is_refused(program, message):
    with pytest.raises(PlainPickleError, match=message):
        run(program)


def test_nothing_that_names_or_calls_is_known():
    """GLOBAL, INST, STACK_GLOBAL, REDUCE, BUILD, NEWOBJ(_EX), OBJ, EXT1-4, (BIN)PERSID, buffers, sets, LONG4, DUP."""
    for code in b"ci\x93Rb\x81\x92o\x82\x83\x84PQ\x97\x98\x96\x8f\x91\x90\x8b2":
        assert bytes([code]) not in INSTRUCTIONS
