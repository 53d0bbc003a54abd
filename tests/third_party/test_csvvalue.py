"""Lines of comma-separated values, as go-csvvalue reads them."""

from __future__ import annotations

import pytest

from pybuildkit.golang.errors import BuildkitError
from pybuildkit.third_party import csvvalue


@pytest.mark.parametrize(
    ("line", "fields"),
    [
        ("a", ["a"]),
        ("a,b", ["a", "b"]),
        ("a,", ["a", ""]),
        (",", ["", ""]),
        ("a\n", ["a"]),
        ("a\r\n", ["a"]),
        ("a\nb", ["a\nb"]),
        ("a\r", ["a\r"]),
        ('"a,b",c', ["a,b", "c"]),
        ('"a""b"', ['a"b']),
        ('""', [""]),
        ('"a",', ["a", ""]),
        ('""""', ['"']),
        ("日,本", ["日", "本"]),
        ("\udcff,x", ["\udcff", "x"]),
    ],
)
def test_fields(line: str, fields: list[str]) -> None:
    assert csvvalue.fields(line) == fields


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("", "EOF"),
        ("\n", "EOF"),
        ("\r\n", "EOF"),
        ('a"b', 'parse error on line 1, column 2: bare " in non-quoted-field'),
        ('日"', 'parse error on line 1, column 4: bare " in non-quoted-field'),
        ('"a', 'parse error on line 1, column 2: extraneous or missing " in quoted-field'),
        ('x,"a"b', 'parse error on line 1, column 5: extraneous or missing " in quoted-field'),
    ],
)
def test_fields_errors(line: str, text: str) -> None:
    with pytest.raises(BuildkitError) as caught:
        csvvalue.fields(line)
    assert str(caught.value) == text
