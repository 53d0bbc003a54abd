"""Include and exclude patterns, as in a .dockerignore file.

Mirrors github.com/moby/patternmatcher, as vendored by BuildKit v0.32.2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pybuildkit._lazy import attach

if TYPE_CHECKING:
    from pybuildkit.third_party.patternmatcher._match import BadPatternError, match
    from pybuildkit.third_party.patternmatcher._patternmatcher import (
        MatchInfo,
        MatchType,
        Pattern,
        PatternError,
        PatternMatcher,
        matches,
        matches_or_parent_matches,
        new,
    )

_EXPORTS = {
    "BadPatternError": "_match",
    "MatchInfo": "_patternmatcher",
    "MatchType": "_patternmatcher",
    "Pattern": "_patternmatcher",
    "PatternError": "_patternmatcher",
    "PatternMatcher": "_patternmatcher",
    "match": "_match",
    "matches": "_patternmatcher",
    "matches_or_parent_matches": "_patternmatcher",
    "new": "_patternmatcher",
}

__all__ = [
    "BadPatternError",
    "MatchInfo",
    "MatchType",
    "Pattern",
    "PatternError",
    "PatternMatcher",
    "match",
    "matches",
    "matches_or_parent_matches",
    "new",
]

__getattr__, _ = attach(__name__, _EXPORTS)
