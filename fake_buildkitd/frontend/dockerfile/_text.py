"""Small text rules of Go that the Dockerfile grammar depends on: white space, cleaned paths, suggestions.

Mirrors unicode.IsSpace, path.Clean, path.Join and util/suggest/error.go, v0.32.2.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable

from pybuildkit.golang.errors import BuildkitError

SPACE = "\t\n\v\f\r \x85\xa0\u1680" + "".join(map(chr, range(0x2000, 0x200B))) + "\u2028\u2029\u202f\u205f\u3000"

DEFAULT_PATH_ENV = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class SuggestError(BuildkitError):
    """An error about a misspelt word, with the word that was probably meant: `TEXT (did you mean WORD?)`."""

    def __init__(self, cause: BaseException, match: str) -> None:
        super().__init__(cause, match)
        self.match = match
        self.__cause__ = cause

    def __str__(self) -> str:
        return f"{self.__cause__} (did you mean {self.match}?)"


def clean(path: str) -> str:
    """Go's path.Clean: the shortest name of the same path, "." for an empty one."""
    if not path:
        return "."
    cleaned = posixpath.normpath(path)
    return cleaned[1:] if cleaned.startswith("//") else cleaned


def join(*parts: str) -> str:
    """Go's path.Join: the non-empty parts joined by slashes and cleaned, "" when all are empty."""
    kept = [part for part in parts if part]
    return clean("/".join(kept)) if kept else ""


def distance(left: str, right: str) -> int:
    """The number of single-character edits between two words."""
    row = list(range(len(right) + 1))
    for i, a in enumerate(left, 1):
        previous, row[0] = row[0], i
        for j, b in enumerate(right, 1):
            previous, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, previous + (a != b))
    return row[-1]


def search(value: str, options: Iterable[str], case_sensitive: bool) -> str:
    """The option nearest to `value` (at most two edits away), or "" where none is near or one is equal."""
    wanted = value if case_sensitive else value.lower()
    match, nearest = "", 3
    for option in options:
        candidate = option if case_sensitive else option.lower()
        if candidate == wanted:
            return ""
        if abs(len(candidate) - len(wanted)) >= nearest:
            continue
        edits = distance(wanted, candidate)
        if edits < nearest:
            match, nearest = candidate, edits
    if match and not case_sensitive and value == value.upper() != value.lower():
        match = match.upper()
    return match


def suggest(err: BuildkitError, value: str, options: Iterable[str], case_sensitive: bool) -> BuildkitError:
    """`err`, with a suggestion behind its text where one of the options is near."""
    match = search(value, options, case_sensitive)
    return SuggestError(err, match) if match else err
