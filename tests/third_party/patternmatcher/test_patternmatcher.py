"""Ports patternmatcher_test.go of moby/patternmatcher."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pybuildkit.third_party import patternmatcher
from pybuildkit.third_party.patternmatcher import BadPatternError, MatchInfo, MatchType, Pattern, PatternError, matches
from pybuildkit.third_party.patternmatcher._regexp import RegexpError, translate

SIMPLE: list[tuple[str, str, list[str], bool]] = [
    ("TestWildcardMatches", "fileutils.go", ["*"], True),
    ("TestPatternMatches", "fileutils.go", ["*.go"], True),
    ("TestExclusionPatternMatchesPatternBefore", "fileutils.go", ["!fileutils.go", "*.go"], True),
    ("TestPatternMatchesFolderExclusions", "docs/README.md", ["docs", "!docs/README.md"], False),
    ("TestPatternMatchesFolderWithSlashExclusions", "docs/README.md", ["docs/", "!docs/README.md"], False),
    ("TestPatternMatchesFolderWildcardExclusions", "docs/README.md", ["docs/*", "!docs/README.md"], False),
    ("TestExclusionPatternMatchesPatternAfter", "fileutils.go", ["*.go", "!fileutils.go"], False),
    ("TestExclusionPatternMatchesWholeDirectory", ".", ["*.go"], False),
    ("TestMatchesWithNoPatterns", "/any/path/there", [], False),
]

WHEEL = "dist/proxy.py-2.4.0rc3.dev36+g08acad9-py3-none-any.whl"

MATCHES: list[tuple[str, str, bool]] = [
    ("**", "file", True),
    ("**", "file/", True),
    ("**/", "file", True),
    ("**/", "file/", True),
    ("**", "/", True),
    ("**/", "/", True),
    ("**", "dir/file", True),
    ("**/", "dir/file", True),
    ("**", "dir/file/", True),
    ("**/", "dir/file/", True),
    ("**/**", "dir/file", True),
    ("**/**", "dir/file/", True),
    ("dir/**", "dir/file", True),
    ("dir/**", "dir/file/", True),
    ("dir/**", "dir/dir2/file", True),
    ("dir/**", "dir/dir2/file/", True),
    ("**/dir", "dir", True),
    ("**/dir", "dir/file", True),
    ("**/dir2/*", "dir/dir2/file", True),
    ("**/dir2/*", "dir/dir2/file/", True),
    ("**/dir2/**", "dir/dir2/dir3/file", True),
    ("**/dir2/**", "dir/dir2/dir3/file/", True),
    ("**file", "file", True),
    ("**file", "dir/file", True),
    ("**/file", "dir/file", True),
    ("**file", "dir/dir/file", True),
    ("**/file", "dir/dir/file", True),
    ("**/file*", "dir/dir/file", True),
    ("**/file*", "dir/dir/file.txt", True),
    ("**/file*txt", "dir/dir/file.txt", True),
    ("**/file*.txt", "dir/dir/file.txt", True),
    ("**/file*.txt*", "dir/dir/file.txt", True),
    ("**/**/*.txt", "dir/dir/file.txt", True),
    ("**/**/*.txt2", "dir/dir/file.txt", False),
    ("**/*.txt", "file.txt", True),
    ("**/**/*.txt", "file.txt", True),
    ("a**/*.txt", "a/file.txt", True),
    ("a**/*.txt", "a/dir/file.txt", True),
    ("a**/*.txt", "a/dir/dir/file.txt", True),
    ("a/*.txt", "a/dir/file.txt", False),
    ("a/*.txt", "a/file.txt", True),
    ("a/*.txt**", "a/file.txt", True),
    ("a[b-d]e", "ae", False),
    ("a[b-d]e", "ace", True),
    ("a[b-d]e", "aae", False),
    ("a[^b-d]e", "aze", True),
    (".*", ".foo", True),
    (".*", "foo", False),
    ("abc.def", "abcdef", False),
    ("abc.def", "abc.def", True),
    ("abc.def", "abcZdef", False),
    ("abc?def", "abcZdef", True),
    ("abc?def", "abcdef", False),
    ("a\\\\", "a\\", True),
    ("**/foo/bar", "foo/bar", True),
    ("**/foo/bar", "dir/foo/bar", True),
    ("**/foo/bar", "dir/dir2/foo/bar", True),
    ("abc/**", "abc", False),
    ("abc/**", "abc/def", True),
    ("abc/**", "abc/def/ghi", True),
    ("**/.foo", ".foo", True),
    ("**/.foo", "bar.foo", False),
    ("a(b)c/def", "a(b)c/def", True),
    ("a(b)c/def", "a(b)c/xyz", False),
    ("a.|)$(}+{bc", "a.|)$(}+{bc", True),
    (WHEEL, WHEEL, True),
    ("dist/*.whl", WHEEL, True),
    ("a\\*b", "a*b", True),
    ("a*", "a\n", True),
    ("a?", "a\n", True),
    ("a[b]", "ab\n", False),
    ("[\\\\d]", "5", False),
    ("*|x", "anything", True),
    ("a{2}?", "aab", True),
    ("a{2}?", "a{2}x", False),
]

MULTI: list[tuple[list[str], str, bool]] = [
    (["**", "!util/docker/web"], "util/docker/web/foo", False),
    (["**", "!util/docker/web", "util/docker/web/foo"], "util/docker/web/foo", True),
    (["**", f"!{WHEEL}"], WHEEL, False),
    (["**", "!dist/*.whl"], WHEEL, False),
]

ALL = [([pattern], text, wanted) for pattern, text, wanted in MATCHES] + MULTI

MATCH: list[tuple[str, str, bool | None]] = [
    ("abc", "abc", True),
    ("*", "abc", True),
    ("*c", "abc", True),
    ("a*", "a", True),
    ("a*", "abc", True),
    ("a*", "ab/c", True),
    ("a*/b", "abc/b", True),
    ("a*/b", "a/c/b", False),
    ("a*b*c*d*e*/f", "axbxcxdxe/f", True),
    ("a*b*c*d*e*/f", "axbxcxdxexxx/f", True),
    ("a*b*c*d*e*/f", "axbxcxdxe/xxx/f", False),
    ("a*b*c*d*e*/f", "axbxcxdxexxx/fff", False),
    ("a*b?c*x", "abxbbxdbxebxczzx", True),
    ("a*b?c*x", "abxbbxdbxebxczzy", False),
    ("ab[c]", "abc", True),
    ("ab[b-d]", "abc", True),
    ("ab[e-g]", "abc", False),
    ("ab[^c]", "abc", False),
    ("ab[^b-d]", "abc", False),
    ("ab[^e-g]", "abc", True),
    ("a\\*b", "a*b", True),
    ("a\\*b", "ab", False),
    ("a?b", "a☺b", True),
    ("a[^a]b", "a☺b", True),
    ("a???b", "a☺b", False),
    ("a[^a][^a][^a]b", "a☺b", False),
    ("[a-ζ]*", "α", True),
    ("*[a-ζ]", "A", False),
    ("a?b", "a/b", False),
    ("a*b", "a/b", False),
    ("[\\]a]", "]", True),
    ("[\\-]", "-", True),
    ("[x\\-]", "x", True),
    ("[x\\-]", "-", True),
    ("[x\\-]", "z", False),
    ("[\\-x]", "x", True),
    ("[\\-x]", "-", True),
    ("[\\-x]", "a", False),
    ("[]a]", "]", None),
    ("[-]", "-", None),
    ("[x-]", "x", None),
    ("[x-]", "-", None),
    ("[x-]", "z", None),
    ("[-x]", "x", None),
    ("[-x]", "-", None),
    ("[-x]", "a", None),
    ("\\", "a", None),
    ("[a-b-c]", "a", None),
    ("[", "a", None),
    ("[^", "a", None),
    ("[^bc", "a", None),
    ("a[", "a", None),
    ("a[", "ab", None),
    ("*x", "xxx", True),
]

COMPILE: list[tuple[str, MatchType, str]] = [
    ("*", MatchType.REGEXP, "^[^/]*$"),
    ("file*", MatchType.REGEXP, "^file[^/]*$"),
    ("*file", MatchType.REGEXP, "^[^/]*file$"),
    ("a*/b", MatchType.REGEXP, "^a[^/]*/b$"),
    ("**", MatchType.SUFFIX, ""),
    ("**/**", MatchType.REGEXP, "^(.*/)?.*$"),
    ("dir/**", MatchType.PREFIX, ""),
    ("**/dir", MatchType.SUFFIX, ""),
    ("**/dir2/*", MatchType.REGEXP, "^(.*/)?dir2/[^/]*$"),
    ("**/dir2/**", MatchType.REGEXP, "^(.*/)?dir2/.*$"),
    ("**file", MatchType.SUFFIX, ""),
    ("**/file*txt", MatchType.REGEXP, "^(.*/)?file[^/]*txt$"),
    ("**/**/*.txt", MatchType.REGEXP, r"^(.*/)?(.*/)?[^/]*\.txt$"),
    ("a[b-d]e", MatchType.REGEXP, "^a[b-d]e$"),
    (".*", MatchType.REGEXP, r"^\.[^/]*$"),
    ("abc.def", MatchType.EXACT, ""),
    ("abc?def", MatchType.REGEXP, "^abc[^/]def$"),
    ("**/foo/bar", MatchType.SUFFIX, ""),
    ("a(b)c/def", MatchType.EXACT, ""),
    ("a.|)$(}+{bc", MatchType.EXACT, ""),
    (WHEEL, MatchType.EXACT, ""),
]


@pytest.mark.parametrize(("name", "file", "patterns", "wanted"), SIMPLE)
def test_simple(name: str, file: str, patterns: list[str], wanted: bool) -> None:
    assert matches(file, patterns) == wanted


def test_single_exclamation_error() -> None:
    with pytest.raises(PatternError, match=r'^illegal exclusion pattern: "!"$'):
        matches("fileutils.go", ["!"])


def test_matches_with_malformed_patterns() -> None:
    with pytest.raises(BadPatternError, match=r"^syntax error in pattern$"):
        matches("/any/path/there", ["["])


def _parents(text: str) -> list[str]:
    parent = patternmatcher._patternmatcher.clean(text.rpartition("/")[0] + "/" if "/" in text else "")
    if parent == ".":
        return []
    parts = parent.split("/")
    return ["/".join(parts[: n + 1]) for n in range(len(parts))]


@pytest.mark.parametrize(("patterns", "text", "wanted"), ALL)
def test_matches(patterns: list[str], text: str, wanted: bool) -> None:
    """TestMatches, in its four ways."""
    matcher = patternmatcher.new(patterns)
    assert matcher.matches_or_parent_matches(text) == wanted
    assert matcher.matches_using_parent_results(text, MatchInfo())[0] == wanted
    info = MatchInfo()
    for parent in _parents(text):
        info = matcher.matches_using_parent_results(parent, info)[1]
    assert matcher.matches_using_parent_results(text, info)[0] == wanted
    if len(patterns) == 1:
        matched = False
        for parent in _parents(text):
            matched = matcher.matches_using_parent_result(parent, matched)
        assert matcher.matches_using_parent_result(text, matched) == wanted


def test_wrong_parent_results() -> None:
    with pytest.raises(PatternError, match="wrong number of values in parentMatched"):
        patternmatcher.new(["a"]).matches_using_parent_results("a", MatchInfo([True, False]))


@pytest.mark.parametrize(
    ("name", "patterns", "count", "exclusions"),
    [
        ("TestCleanPatterns", ["docs", "config"], 2, False),
        ("TestCleanPatternsStripEmptyPatterns", ["docs", "config", ""], 2, False),
        ("TestCleanPatternsExceptionFlag", ["docs", "!docs/README.md"], 2, True),
        ("TestCleanPatternsLeadingSpaceTrimmed", ["docs", "  !docs/README.md"], 2, True),
        ("TestCleanPatternsTrailingSpaceTrimmed", ["docs", "!docs/README.md  "], 2, True),
    ],
)
def test_clean_patterns(name: str, patterns: list[str], count: int, exclusions: bool) -> None:
    matcher = patternmatcher.new(patterns)
    assert len(matcher.patterns()) == count
    assert matcher.exclusions() == exclusions


def test_clean_patterns_error_single_exception() -> None:
    with pytest.raises(PatternError):
        patternmatcher.new(["!"])


@pytest.mark.parametrize(("pattern", "text", "wanted"), MATCH)
def test_match(pattern: str, text: str, wanted: bool | None) -> None:
    """TestMatch: the cases of Go's filepath.Match."""
    if wanted is None:
        with pytest.raises(BadPatternError):
            matches(text, [pattern])
    else:
        assert matches(text, [pattern]) == wanted


@pytest.mark.parametrize(("pattern", "kind", "expression"), COMPILE)
def test_compile(pattern: str, kind: MatchType, expression: str) -> None:
    compiled = Pattern(pattern, False)
    compiled.compile()
    assert (compiled.match_type, compiled.expression) == (kind, expression)


@pytest.mark.parametrize(
    ("pattern", "text", "wanted"),
    [
        (b"caf*\xe9", b"caf\xe9", True),
        (b"caf*\xe9", b"caf\xe8", True),
        (b"caf*\xef\xbf\xbd", b"caf\xe9", True),
        (b"caf*\xe9", b"caf\xef\xbf\xbd", True),
        (b"caf*\xe9", "café".encode(), False),
        (b"caf\xe9", b"caf\xe8", False),
        (b"[^\xef\xbf\xbd]af*", b"\xe9af", False),
        (b"[a-\xef\xbf\xbf]af*", b"\xe9af", True),
    ],
)
def test_bytes_that_are_no_utf8(pattern: bytes, text: bytes, wanted: bool) -> None:
    """They are one character in a pattern with wildcards, as in Go, and themselves in one without."""
    assert matches(os.fsdecode(text), [os.fsdecode(pattern)]) == wanted


def test_matches_or_parent_matches_malformed_pattern_does_not_panic_on_repeated_call() -> None:
    matcher = patternmatcher.new(["[Local-Only]/"])
    for _ in range(2):
        with pytest.raises(BadPatternError):
            matcher.matches_or_parent_matches("x")


@pytest.mark.parametrize(
    ("expression", "text", "wanted"),
    [
        (r"^a\d$", "a5", True),
        (r"^a\d$", "a٣", False),
        (r"^a\D$", "a٣", True),
        (r"^[\w]$", "_", True),
        (r"^[[:alpha:]]$", "x", True),
        (r"^[[:^alpha:]]$", "1", True),
        (r"^\x41\101\n$", "AA\n", True),
        (r"^\Qa.b\E$", "a.b", True),
        (r"^[[^/]*]$", "^]", True),
        (r"^a$", "a\n", False),
        (r"^\x{263a}$", "☺", True),
        (r"^\S$", " ", False),
        (r"^a|b$", "xb", True),
        (r"^a{2}$", "aa", True),
        (r"^a{,2}$", "a{,2}", True),
        (r"^a{02}$", "a{02}", True),
        (r"^^$", "", True),
    ],
)
def test_translate(expression: str, text: str, wanted: bool) -> None:
    import re

    assert (re.search(translate(expression), text) is not None) == wanted


@pytest.mark.parametrize(
    "expression", [r"\y", r"\1", r"[b-a]", r"[[:nope:]]", "\\", r"\xg", r"[a", r"{2}", r"a*{2}", r"a{1001}"]
)
def test_translate_refuses(expression: str) -> None:
    with pytest.raises(RegexpError):
        translate(expression)


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        ("*a*a*a*a*a*a*a*b", "a" * 250),
        ("**/a/**/a/**/a/**/a/**/a/**/b*", "a/" * 500 + "c"),
        ("**/**/**/**/**/**/b*", "a/" * 500 + "c"),
    ],
)
def test_many_stars_take_no_time(pattern: str, text: str) -> None:
    """Each would take hours if every way to share the text were tried."""
    assert not matches(text, [pattern])


def test_a_backslash_at_the_end() -> None:
    """It hides the end that Go puts behind the expression."""
    for pattern in ("a*\\", "**/**/\\"):
        assert matches("a$" if pattern[0] == "a" else "$", [pattern])
        assert not matches("a\\Z" if pattern[0] == "a" else "\\Z", [pattern])


_PIECES = st.lists(st.sampled_from(["*", "**", "**/", "a", "b", "/", "?", ".", "\\*", "é", "-"]), max_size=9)


@given(_PIECES, st.text("ab/.\n*é", max_size=10))
def test_fewer_ways_match_the_same(pieces: list[str], text: str) -> None:
    import re

    pattern = Pattern(re.sub("/+", "/", "".join(pieces)), False)
    pattern.compile()
    if pattern.match_type is MatchType.REGEXP:
        assert pattern.match(text) == (re.search(translate(pattern.expression), text) is not None)


@given(st.text("ab*?[]^-!\\/.d\n", max_size=8), st.text("ab/*\n\udcff", max_size=6))
def test_any_pattern_matches_or_is_bad(pattern: str, text: str) -> None:
    try:
        matcher = patternmatcher.new([pattern])
        found = matcher.matches_or_parent_matches(text)
    except (BadPatternError, PatternError):
        return
    assert matcher.matches_using_parent_results(text, MatchInfo())[0] == found
