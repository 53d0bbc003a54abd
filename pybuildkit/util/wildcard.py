"""Patterns with `*` for any text, whose matches can be put into another text.

Mirrors util/wildcard, v0.32.2.
"""

from __future__ import annotations

import re

from pybuildkit.golang.errors import BuildkitError, wrap
from pybuildkit.golang.strconv import quote

_REFERENCE = re.compile(r"\$(?:\$|\{(\w+)\}|(\w+))", re.ASCII)


class WildcardError(BuildkitError):
    """A pattern that means nothing: it holds `**`."""


class Wildcard:
    """A pattern; made by `new`."""

    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        if "**" in pattern:
            bad = WildcardError('invalid wildcard: "**"')
            raise wrap(bad, f"failed to translate wildcard {quote(pattern)} to regexp") from bad
        self._regexp = re.compile("(.*)".join(re.escape(part) for part in pattern.split("*")))

    def __str__(self) -> str:
        return self._pattern

    def match(self, text: str) -> Match | None:
        """The match of the whole text, or None."""
        found = self._regexp.fullmatch(text)
        return None if found is None else Match(found)


class Match:
    """What a pattern has matched: `submatches[0]` is the whole, then the text of each `*`."""

    def __init__(self, found: re.Match[str]) -> None:
        self._found = found
        self.submatches = [found[0], *found.groups()]

    def __str__(self) -> str:
        return self.submatches[0]

    def format(self, template: str) -> str:
        """The template with `$1` and `${1}` replaced by what the first `*` has matched, and so on."""
        return expand(template, self._found)


def new(pattern: str) -> Wildcard:
    """The pattern.

    Raises:
        WrappedError: of WildcardError.
    """
    return Wildcard(pattern)


def expand(template: str, found: re.Match[str]) -> str:
    """The template with references to groups replaced, as Go's regexp does it.

    `$name` takes the longest name there is, so `$1x` means the group `1x`; a group that is not there is empty, and
    `$$` is a dollar sign. A lone `$` stays.
    """

    def replace(reference: re.Match[str]) -> str:
        name = reference[1] or reference[2]
        if name is None:
            return "$"
        if name.isdigit():
            number = int(name)
            return (found[number] or "") if number <= (found.re.groups or 0) else ""
        return (found[name] or "") if name in found.re.groupindex else ""

    return _REFERENCE.sub(replace, template)
