"""A rule's selector with what is computed once: its expression and its wildcard's matches.

Mirrors sourcepolicy/formatter.go, v0.32.2. Differs: expressions are Python's, which know a little more than Go's.
"""

from __future__ import annotations

import re

from pybuildkit.golang.errors import BuildkitError
from pybuildkit.sourcepolicy.pb import policy_pb2
from pybuildkit.util import wildcard


class SourcePolicyError(BuildkitError):
    """A policy that cannot be evaluated."""


def compile_regexp(pattern: str) -> re.Pattern[str]:
    """The expression.

    Raises:
        SourcePolicyError: it is none.
    """
    try:
        return re.compile(pattern)
    except re.error as err:
        raise SourcePolicyError(f"error parsing regexp: {err}: `{pattern}`") from err


def match_type_name(value: int) -> str:
    """The name of a match type, or the number of one that is not known."""
    return policy_pb2.MatchType.Name(value) if value in policy_pb2.MatchType.values() else str(value)  # type: ignore[arg-type]  # any int may come from the wire


class SelectorCache:
    """A selector and what it needs to match."""

    def __init__(self, selector: policy_pb2.Selector) -> None:
        self.selector = selector
        self._regexp: re.Pattern[str] | None = None
        self._wildcard: wildcard.Wildcard | None = None
        self._matches: dict[str, wildcard.Match | None] = {}

    def regexp(self) -> re.Pattern[str]:
        """The identifier as an expression."""
        if self._regexp is None:
            self._regexp = compile_regexp(self.selector.identifier)
        return self._regexp

    def wildcard_match(self, ref: str) -> wildcard.Match | None:
        """The match of the identifier as a wildcard, computed once for each reference."""
        if self._wildcard is None:
            self._wildcard = wildcard.new(self.selector.identifier)
        if ref not in self._matches:
            self._matches[ref] = self._wildcard.match(ref)
        return self._matches[ref]

    def format(self, ref: str, template: str) -> str:
        """The identifier that a rule puts in the place of `ref`.

        The template's `$1`, `${1}` stand for what the selector's groups or wildcards have matched; an exact selector
        takes the template as it is.
        """
        match self.selector.match_type:
            case policy_pb2.EXACT:
                return template
            case policy_pb2.REGEX:
                return self.regexp().sub(lambda found: wildcard.expand(template, found), ref)
            case policy_pb2.WILDCARD:
                found = self.wildcard_match(ref)
                return ref if found is None else found.format(template)
        raise SourcePolicyError(f"unknown match type: {match_type_name(self.selector.match_type)}")
