"""Words: quotes, escapes, variables, patterns."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fake_buildkitd.frontend.dockerfile import Lex, ShellError

ENV = {
    "HOME": "/home/me",
    "EMPTY": "",
    "FILE": "lib/abc.tar.gz",
    "STAR": "a*b",
    "SPACES": "one two",
    "REPEAT": "aXbXc",
    "1": "first",
}

WORDS = [
    ("plain", "plain"),
    ("$HOME", "/home/me"),
    ("${HOME}", "/home/me"),
    ("x${HOME}y", "x/home/mey"),
    ("$HOMEY", ""),
    ("$", "$"),
    ("a$ b", "a$ b"),
    ("'$HOME'", "$HOME"),
    ('"$HOME"', "/home/me"),
    ('"a\\"b"', 'a"b'),
    ('"a\\nb"', "a\\nb"),
    ("\\$HOME", "$HOME"),
    ("\\\\", "\\"),
    ("a\\", "a"),
    ("it\\'s", "it's"),
    ("${MISSING:-def}", "def"),
    ("${MISSING-def}", "def"),
    ("${EMPTY:-def}", "def"),
    ("${EMPTY-def}", ""),
    ("${HOME:-def}", "/home/me"),
    ("${MISSING:+alt}", ""),
    ("${EMPTY:+alt}", ""),
    ("${EMPTY+alt}", "alt"),
    ("${HOME:+alt}", "alt"),
    ("${HOME:?no}", "/home/me"),
    ("${MISSING:-${HOME}/x}", "/home/me/x"),
    ("${MISSING:-'q}'}", "q}"),
    ("${FILE#*/}", "abc.tar.gz"),
    ("${FILE##*.}", "gz"),
    ("${FILE%.*}", "lib/abc.tar"),
    ("${FILE%%.*}", "lib/abc"),
    ("${FILE#nothing}", "lib/abc.tar.gz"),
    ("${FILE#l?b}", "/abc.tar.gz"),
    ("${STAR#a\\*}", "b"),
    ("${FILE/a/A}", "lib/Abc.tar.gz"),
    ("${FILE//a/A}", "lib/Abc.tAr.gz"),
    ("${FILE//./}", "lib/abctargz"),
    ("${REPEAT/X*X/-}", "a-c"),
    ("$1", "first"),
    ("$12", ""),
    ("<<EOF", "<<EOF"),
    ("a < b", "a < b"),
]


@pytest.mark.parametrize(("word", "want"), WORDS)
def test_process_word(word: str, want: str) -> None:
    assert Lex("\\").process_word(word, ENV) == want


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("a b  c", ["a", "b", "c"]),
        ("'a b' c", ["a b", "c"]),
        ("$SPACES", ["one", "two"]),
        ('"$SPACES"', ["one two"]),
        ("a\\ b", ["a b"]),
        ("  ", []),
        ("$EMPTY x", ["x"]),
    ],
)
def test_process_words(text: str, want: list[str]) -> None:
    assert Lex("\\").process_words(text, ENV) == want


ERRORS = [
    ("${", "syntax error: missing '}'"),
    ("${}", "syntax error: bad substitution"),
    ("${:x}", "syntax error: bad substitution"),
    ("${HOME", "unsupported modifier (\ufffd) in substitution"),
    ("${HOME:-x", "syntax error: missing '}'"),
    ("${HOME^x}", "unsupported modifier (^) in substitution"),
    ("${HOME:#x}", "unsupported modifier (:#) in substitution"),
    ("${HOME:*x}", "unsupported modifier (:*) in substitution"),
    ("${MISSING:?}", "MISSING: is not allowed to be unset"),
    ("${MISSING?say it}", "MISSING: say it"),
    ("${EMPTY:?}", "EMPTY: is not allowed to be empty"),
    ("'x", "unexpected end of statement while looking for matching single-quote"),
    ('"x', "unexpected end of statement while looking for matching double-quote"),
    ("${FILE/x}", "syntax error: missing '/' in ${}"),
    ("${FILE/x/y", "syntax error: missing '}'"),
    ("${FILE#a\\b}", "invalid pattern (a\\b) in substitution: invalid escape '\\b'"),
]


@pytest.mark.parametrize(("word", "reason"), ERRORS)
def test_errors(word: str, reason: str) -> None:
    with pytest.raises(ShellError) as caught:
        Lex("\\").process_word(word, ENV)
    assert str(caught.value).endswith(f": {reason}")
    assert str(caught.value).startswith("failed to process ")


def test_escape_token() -> None:
    assert Lex("`").process_word("C:\\x`$HOME", ENV) == "C:\\x$HOME"


def test_options() -> None:
    assert Lex("\\", raw_quotes=True, skip_unset_env=True).process_word("'a' $NO ${NO} ${NO:-x}", ENV) == (
        "'a' $NO ${NO} ${NO:-x}"
    )
    assert Lex("\\", skip_process_quotes=True).process_word('it\'s "$HOME"', ENV) == 'it\'s "/home/me"'


def test_matches() -> None:
    expansion = Lex("\\").process("$HOME ${NO:-x} $OTHER", ENV)
    assert expansion.matched == {"HOME"}
    assert expansion.unmatched == {"NO", "OTHER"}


@given(st.text(alphabet="ab$ {}:-+?#%/'\"\\<*HOME", max_size=30))
def test_any_text_is_expanded_or_refused(text: str) -> None:
    try:
        Lex("\\").process_word(text, ENV)
    except ShellError as err:
        assert str(err)  # noqa: PT017 - most texts are fine, and any may be refused
