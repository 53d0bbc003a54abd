"""Shell patterns for one path, with Go's idea of what a pattern may look like.

Mirrors path/filepath.Match of Go 1.26 on Unix. Patterns and names are text; names that are not UTF-8 are decoded
with "surrogateescape".

    *       any number of characters but "/"
    ?       one character but "/"
    [...]   one of the characters and ranges; [^...] one that is not
    \\c      the character c
"""

from __future__ import annotations

from pybuildkit.golang.errors import BuildkitError


class BadPatternError(BuildkitError):
    """A pattern that is not well formed."""

    def __str__(self) -> str:
        return "syntax error in pattern"


def match(pattern: str, name: str) -> bool:
    """Whether the whole name matches the pattern.

    Raises:
        BadPatternError: the pattern is malformed; what stands behind the part that failed to match is not looked at.
    """
    while pattern:
        star, chunk, pattern = _next_chunk(pattern)
        if star and not chunk:
            return "/" not in name
        rest = _match_chunk(chunk, name)
        if rest is not None and (not rest or pattern):
            name = rest
            continue
        if star:
            rest = _match_later(chunk, name, whole=not pattern)
            if rest is not None:
                name = rest
                continue
        return False
    return not name


def _match_later(chunk: str, name: str, whole: bool) -> str | None:
    """What is left of the name where the chunk matches behind a star, or None.

    Args:
        whole: nothing may be left.
    """
    for index, char in enumerate(name):
        if char == "/":
            break
        rest = _match_chunk(chunk, name[index + 1 :])
        if rest is not None and not (whole and rest):
            return rest
    return None


def _next_chunk(pattern: str) -> tuple[bool, str, str]:
    """Leading stars, the part up to the next star outside brackets, and the rest."""
    stripped = pattern.lstrip("*")
    in_brackets = False
    index = 0
    while index < len(stripped):
        char = stripped[index]
        if char == "\\":
            index += 1
        elif char == "[":
            in_brackets = True
        elif char == "]":
            in_brackets = False
        elif char == "*" and not in_brackets:
            break
        index += 1
    return stripped != pattern, stripped[:index], stripped[index:]


def _match_chunk(chunk: str, name: str) -> str | None:
    """What is left of the name behind a chunk without stars, None where it does not match.

    Goes through the whole chunk in any case, for its syntax.
    """
    failed = False
    while chunk:
        failed = failed or not name
        char = "" if failed else name[0]
        if chunk[0] == "[":
            matched, chunk = _match_brackets(chunk[1:], char)
            failed = failed or not matched
        elif chunk[0] == "?":
            failed = failed or char == "/"
            chunk = chunk[1:]
        else:
            if chunk[0] == "\\":
                chunk = chunk[1:]
                if not chunk:
                    raise BadPatternError
            failed = failed or chunk[0] != char
            chunk = chunk[1:]
        name = name[1:]
    return None if failed else name


def _match_brackets(chunk: str, char: str) -> tuple[bool, str]:
    """Whether a character ("" for none) is one of those in brackets, and what follows them."""
    negated = chunk.startswith("^")
    if negated:
        chunk = chunk[1:]
    found = False
    count = 0
    while not (count and chunk.startswith("]")):
        low, chunk = _bracket_char(chunk)
        high = low
        if chunk[0] == "-":
            high, chunk = _bracket_char(chunk[1:])
        found = found or (char != "" and low <= char <= high)
        count += 1
    return found != negated, chunk[1:]


def _bracket_char(chunk: str) -> tuple[str, str]:
    """One character in brackets, maybe escaped, and what follows it, which is something."""
    if not chunk or chunk[0] in "-]":
        raise BadPatternError
    if chunk[0] == "\\":
        chunk = chunk[1:]
        if not chunk:
            raise BadPatternError
    if "\udc80" <= chunk[0] <= "\udcff" or len(chunk) == 1:
        raise BadPatternError
    return chunk[0], chunk[1:]
