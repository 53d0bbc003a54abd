"""The small screen: what it shows after a program wrote to it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pybuildkit.third_party.vt100 import VT100

CASES = [
    ("text", b"ab\ncd", ["ab    ", "cd    ", "      "]),
    ("wraps", b"abcdefgh", ["abcdef", "gh    ", "      "]),
    ("scrolls", b"1\n2\n3\n4\n5", ["3     ", "4     ", "5     "]),
    ("line feeds alone do not scroll", b"1\n\n\n\n\n", ["1     ", "      ", "      "]),
    ("carriage return", b"50%\r100%\n", ["100%  ", "      ", "      "]),
    ("backspace", b"ab\bc", ["ac    ", "      ", "      "]),
    ("backspace over lines", b"abcdefg\b\bX", ["abcdeX", "g     ", "      "]),
    ("backspace at home", b"\b\bx", ["x     ", "      ", "      "]),
    ("style", b"\x1b[1;31mred\x1b[0m", ["red   ", "      ", "      "]),
    ("moves", b"\x1b[2;3Hx\x1b[Ay\x1b[2Dz", ["  zy  ", "  x   ", "      "]),
    ("moves end at the border", b"\x1b[99;99Hx", ["      ", "      ", "     x"]),
    ("erase line", b"abcdef\x1b[1;3H\x1b[K", ["ab    ", "      ", "      "]),
    ("erase line before", b"abcdef\x1b[1;3H\x1b[1K", ["   def", "      ", "      "]),
    ("erase whole line", b"abc\x1b[2K", ["      ", "      ", "      "]),
    ("erase below", b"a\nb\nc\x1b[2;1H\x1b[J", ["a     ", "      ", "      "]),
    ("erase all", b"a\nb\nc\x1b[2J", ["      ", "      ", "      "]),
    ("save", b"ab\x1b[scd\x1b[uX\x1b7yz\x1b8Z", ["abXZz ", "      ", "      "]),
    ("title is text", b"\x1b]0;t\x07x", ["0;tx  ", "      ", "      "]),
    ("unknown and private", b"\x1b[?25la\x1b[5zb\x1b=c", ["abc   ", "      ", "      "]),
    ("one-byte introducer", "\x9b2Cx".encode(), ["  x   ", "      ", "      "]),
    ("wide", "日本".encode(), ["日本    ", "      ", "      "]),
    ("tab is nothing", b"a\tb", ["ab    ", "      ", "      "]),
    ("long rest after an invalid byte is lost", b"a\xff" + b"b" * 12, ["a     ", "      ", "      "]),
    ("escape cut off", b"a\x1b[3", ["a     ", "      ", "      "]),
    ("invalid byte within a sequence", b"a\x1b[3\xffmb", ["ab    ", "      ", "      "]),
]


@pytest.mark.parametrize(("name", "data", "expected"), CASES, ids=[case[0] for case in CASES])
def test_write(name: str, data: bytes, expected: list[str]) -> None:
    screen = VT100(3, 6)
    screen.write(data)
    assert screen.lines() == expected


def test_short_rest_after_an_invalid_byte_is_kept() -> None:
    screen = VT100(1, 20)
    screen.write(b"a\xffbc")
    assert screen.lines()[0].rstrip() == "a"
    screen.write(b"d")
    assert screen.lines()[0].rstrip() == "abcd"


def test_resize_cuts_and_fills() -> None:
    screen = VT100(2, 8)
    screen.write(b"12345678abcdefgh")
    screen.resize(1, 3)
    assert screen.lines() == ["123456"]
    screen.resize(3, 8)
    assert screen.lines() == ["123456  ", " " * 8, " " * 8]
    assert screen.used_height() == 1
    screen.resize(-1, -1)
    assert (screen.height, screen.width) == (1, 6)


@pytest.mark.parametrize("size", [(0, 1), (1, 0), (-1, 5)])
def test_no_size(size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="invalid dim"):
        VT100(*size)


PIECES = st.lists(
    st.one_of(
        st.binary(max_size=6),
        st.sampled_from([b"\n", b"\x1b[", b"\x1b[9;9H", b"\x1b[2J", b"\x1b[1J", b"\x1b[K", b"\b", b"\x1b[u", b"word"]),
    ),
    max_size=12,
)


@given(st.integers(1, 6), st.integers(1, 12), st.lists(st.tuples(PIECES, st.integers(-2, 9), st.integers(-2, 15))))
def test_anything_leaves_a_whole_screen(height: int, width: int, steps: list[tuple[list[bytes], int, int]]) -> None:
    screen = VT100(height, width)
    for pieces, new_height, new_width in steps:
        screen.write(b"".join(pieces))
        assert [len(row) for row in screen.content] == [screen.width] * screen.height
        screen.resize(new_height, new_width)
        assert [len(row) for row in screen.content] == [screen.width] * screen.height
