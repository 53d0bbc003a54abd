"""Shell words; the vectors `refs` hold more."""

import pytest

from pybuildkit.third_party import shlex

SPLIT = [
    ("", []),
    ("  a\tb\r\nc ", ["a", "b", "c"]),
    ('one two "three four" "five \\"six\\"" seven#eight # nine # ten\n eleven \'twelve\\\' thirteen=13', None),
    ("a'b c'd", ["ab cd"]),
    ("''", [""]),
    ("a\\ b", ["a b"]),
    ("# only a comment", []),
    ("#\n#\nx", ["x"]),
    ("'#x'", ["#x"]),
    ('"a\\nb"', ["anb"]),
    ("\u00a0", ["\u00a0"]),
]
TEST_STRING_WORDS = ["one", "two", "three four", 'five "six"', "seven#eight", "eleven", "twelve\\", "thirteen=13"]


@pytest.mark.parametrize(("text", "words"), SPLIT)
def test_split(text: str, words: list[str] | None) -> None:
    assert shlex.split(text) == (TEST_STRING_WORDS if words is None else words)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ('"a', "EOF found when expecting closing quote"),
        ("'a", "EOF found when expecting closing quote"),
        ("a\\", "EOF found after escape character"),
        ('"a\\', "EOF found after escape character"),
    ],
)
def test_unfinished(text: str, error: str) -> None:
    with pytest.raises(shlex.ShlexError, match=f"^{error}$"):
        shlex.split(text)
