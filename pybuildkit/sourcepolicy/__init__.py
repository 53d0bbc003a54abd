"""Source policies: rules that allow, deny or replace the sources of a build.

Mirrors package sourcepolicy of BuildKit, v0.32.2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pybuildkit._lazy import attach

if TYPE_CHECKING:
    from pybuildkit.sourcepolicy._engine import (
        Engine,
        SourceDeniedError,
        TooManyOpsError,
        new_engine,
    )
    from pybuildkit.sourcepolicy._matcher import match
    from pybuildkit.sourcepolicy._mutate import mutate

__all__ = [
    "Engine",
    "SourceDeniedError",
    "SourcePolicyError",
    "TooManyOpsError",
    "match",
    "mutate",
    "new_engine",
]

__getattr__, _ = attach(
    __name__,
    {
        name: {"match": "_matcher", "mutate": "_mutate", "SourcePolicyError": "_formatter"}.get(name, "_engine")
        for name in __all__
    },
)
