"""Lists of patterns with exceptions, and whether a path is meant by one.

Mirrors patternmatcher.go of moby/patternmatcher, v0.6.1.

Rules: patterns are tried in order; a plain one takes a path in, one with a leading "!" takes it out again; the last
that matches decides. A pattern that matches a directory matches what is in it. "**" stands for any number of
directories, the rest of a pattern is as in `match`.

Paths are text with "/" between components; names that are not UTF-8 are decoded with "surrogateescape".
"""

from __future__ import annotations

import enum
import os
import re
from collections.abc import Callable, Sequence

from pybuildkit.golang.errors import BuildkitError
from pybuildkit.third_party.patternmatcher import _regexp
from pybuildkit.third_party.patternmatcher._match import BadPatternError, match


class PatternError(BuildkitError):
    """A pattern that means nothing."""


class MatchType(enum.Enum):
    """How a pattern is matched."""

    UNKNOWN = enum.auto()
    EXACT = enum.auto()
    PREFIX = enum.auto()
    SUFFIX = enum.auto()
    REGEXP = enum.auto()


class Pattern:
    """One pattern; `str()` gives it cleaned, without its "!"."""

    __slots__ = ("_cleaned", "_exclusion", "_find", "_fixed", "dirs", "expression", "match_type")

    def __init__(self, cleaned: str, exclusion: bool) -> None:
        self._cleaned = cleaned
        self._exclusion = exclusion
        self._fixed = ""
        self._find: Callable[[str], re.Match[str] | None] | None = None
        self.dirs = cleaned.split("/")
        self.expression = ""
        self.match_type = MatchType.UNKNOWN

    def __str__(self) -> str:
        return self._cleaned

    def exclusion(self) -> bool:
        """Whether it takes paths out."""
        return self._exclusion

    def match(self, path: str) -> bool:
        """Whether it matches this path itself.

        Raises:
            BadPatternError: it cannot be compiled.
        """
        kind = self.match_type
        if kind is MatchType.UNKNOWN:
            self.compile()
            kind = self.match_type
        if kind is MatchType.EXACT:
            return path == self._cleaned
        if kind is MatchType.REGEXP:
            assert self._find is not None
            return self._find(path) is not None
        if kind is MatchType.PREFIX:
            return path.startswith(self._fixed)
        return path.endswith(self._fixed) or (self._fixed[0] == "/" and path == self._fixed[1:])

    def compile(self) -> None:
        """Find out how to match it.

        Raises:
            BadPatternError: it is no pattern.
        """
        kind, expression = _analyse(self._cleaned)
        if kind is MatchType.REGEXP:
            try:
                self._find = _regexp.compile(expression)
            except _regexp.RegexpError as err:
                raise BadPatternError from err
        self.expression = expression
        self._fixed = self._cleaned[:-2] if kind is MatchType.PREFIX else self._cleaned[2:]
        self.match_type = kind


_ESCAPED = ".+()$"
"""What is escaped in an expression. Go means to escape "|{}" as well, and its table of bits has no room for them:
they keep their meaning in a pattern that becomes an expression."""


def _analyse(pattern: str) -> tuple[MatchType, str]:
    """How a pattern is matched, and for REGEXP the expression, in Go's syntax."""
    out = ["^"]
    kind = MatchType.EXACT
    pos = 0
    count = 0
    while pos < len(pattern):
        char = pattern[pos]
        pos += 1
        if char == "*" and pattern.startswith("*", pos):
            pos += 1
            if pattern.startswith("/", pos):
                pos += 1
            if pos < len(pattern):
                out.append("(.*/)?")
                kind = MatchType.REGEXP
            elif kind is MatchType.EXACT:
                kind = MatchType.PREFIX
            else:
                out.append(".*")
                kind = MatchType.REGEXP
            if count == 0:
                kind = MatchType.SUFFIX
        elif char == "\\" and pos < len(pattern):
            out.append("\\" + pattern[pos])
            pos += 1
            kind = MatchType.REGEXP
        elif char in "*?[]":
            out.append({"*": "[^/]*", "?": "[^/]"}.get(char, char))
            kind = MatchType.REGEXP
        else:
            out.append("\\" + char if char in _ESCAPED else char)
        count += 1
    return kind, "".join(out) + "$" if kind is MatchType.REGEXP else ""


class MatchInfo:
    """Which patterns matched a directory; handed on to what is in it. Empty: nothing is known."""

    __slots__ = ("parent_matched",)

    def __init__(self, parent_matched: Sequence[bool] = ()) -> None:
        self.parent_matched = parent_matched


class PatternMatcher:
    """A list of patterns; made by `new`."""

    def __init__(self, patterns: Sequence[Pattern]) -> None:
        self._patterns = list(patterns)
        self._exclusions = any(pattern.exclusion() for pattern in self._patterns)

    def patterns(self) -> list[Pattern]:
        """The patterns that count, in order."""
        return self._patterns

    def exclusions(self) -> bool:
        """Whether one of them takes paths out."""
        return self._exclusions

    def matches(self, file: str) -> bool:
        """As `matches_or_parent_matches`, but only the parent at a pattern's own depth is tried (deprecated)."""
        dirs = _parents(file)
        matched = False
        for pattern in self._patterns:
            if pattern.exclusion() != matched:
                continue
            found = pattern.match(file)
            if not found and len(pattern.dirs) <= len(dirs):
                found = pattern.match(dirs[len(pattern.dirs) - 1])
            if found:
                matched = not pattern.exclusion()
        return matched

    def matches_or_parent_matches(self, file: str) -> bool:
        """Whether the path, or a directory that it is in, is meant by the patterns.

        Raises:
            BadPatternError: a pattern cannot be compiled.
        """
        dirs = _parents(file)
        matched = False
        for pattern in self._patterns:
            if pattern.exclusion() != matched:
                continue
            if pattern.match(file) or any(map(pattern.match, dirs)):
                matched = not pattern.exclusion()
        return matched

    def matches_using_parent_result(self, file: str, parent_matched: bool) -> bool:
        """As `matches_using_parent_results` with one result for all patterns (deprecated)."""
        matched = parent_matched
        for pattern in self._patterns:
            if pattern.exclusion() == matched and pattern.match(file):
                matched = not pattern.exclusion()
        return matched

    def matches_using_parent_results(self, file: str, info: MatchInfo) -> tuple[bool, MatchInfo]:
        """As `matches_or_parent_matches`, with what is known of the directory that the path is in.

        Returns:
            whether the path is meant, and what to hand on where it is a directory.

        Raises:
            PatternError: `info` belongs to another list.
            BadPatternError: a pattern cannot be compiled.
        """
        known = info.parent_matched
        if known and len(known) != len(self._patterns):
            raise PatternError("wrong number of values in parentMatched")
        dirs = _parents(file) if not known else []
        matched = False
        results = [False] * len(self._patterns)
        for index, pattern in enumerate(self._patterns):
            exclusion = pattern._exclusion
            found = bool(known) and known[index]
            if not found:
                if exclusion != matched:
                    continue
                found = pattern.match(file) or any(map(pattern.match, dirs))
            results[index] = found
            if found:
                matched = not exclusion
        return matched, MatchInfo(results)


def _parents(file: str) -> list[str]:
    """The directories that a path is in, outermost first."""
    parent = _dir(file)
    if parent == ".":
        return []
    parts = parent.split("/")
    return ["/".join(parts[: index + 1]) for index in range(len(parts))]


def _dir(file: str) -> str:
    """Go's filepath.Dir."""
    return clean(file.rpartition("/")[0] + "/" if "/" in file else "")


def clean(path: str) -> str:
    """Go's filepath.Clean."""
    cleaned = os.path.normpath(path) if path else "."
    return cleaned[1:] if cleaned.startswith("//") else cleaned


def new(patterns: Sequence[str]) -> PatternMatcher:
    """A matcher for patterns; white space around them and empty ones do not count.

    Raises:
        PatternError: a lone "!".
        BadPatternError: one is malformed.
    """
    found = []
    for text in patterns:
        text = text.strip()
        if not text:
            continue
        text = clean(text)
        exclusion = text.startswith("!")
        if exclusion:
            if text == "!":
                raise PatternError('illegal exclusion pattern: "!"')
            text = text[1:]
        match(text, ".")
        found.append(Pattern(text, exclusion))
    return PatternMatcher(found)


def matches(file: str, patterns: Sequence[str]) -> bool:
    """`PatternMatcher.matches` for one path, cleaned; "." never matches (deprecated)."""
    matcher = new(patterns)
    file = clean(file)
    return file != "." and matcher.matches(file)


def matches_or_parent_matches(file: str, patterns: Sequence[str]) -> bool:
    """`PatternMatcher.matches_or_parent_matches` for one path, cleaned; "." never matches."""
    matcher = new(patterns)
    file = clean(file)
    return file != "." and matcher.matches_or_parent_matches(file)
