"""`--debug-json-cache-metrics`: how much of a build came from the cache.

Mirrors cmd/buildctl/cachemetrics.go, v0.32.2.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from pybuildkit.client._graph import SolveStatus
from pybuildkit.golang import json

_FROM = re.compile(r"\[.*\] FROM")
_NOT_THE_USERS = ("[internal]", "[auth]", "importing cache", "exporting ")


@dataclass(slots=True)
class _VertexInfo:
    name: str
    cached: bool = False
    completed: bool = False
    is_from: bool = False

    def is_users(self) -> bool:
        """Whether the step stands in the user's build, not in BuildKit's own work around it."""
        return not self.name.startswith(_NOT_THE_USERS)


class CacheMetrics:
    """Counts a build's steps as its statuses pass."""

    def __init__(self) -> None:
        self._vertexes: dict[str, _VertexInfo] = {}

    def update(self, status: SolveStatus) -> None:
        """Take a status into account."""
        for vertex in status.vertexes:
            info = self._vertexes.setdefault(vertex.digest, _VertexInfo(vertex.name))
            info.is_from |= _FROM.match(vertex.name) is not None
            info.cached |= vertex.cached
            info.completed |= vertex.completed is not None

    def report(self, duration_ms: int) -> str:
        """A line for each step of the user's that missed the cache, then the counts as JSON.

        Args:
            duration_ms: how long the command has been running, in milliseconds.
        """
        users = [info for info in self._vertexes.values() if info.is_users()]
        missed = [info for info in users if not info.cached and not info.is_from]
        counts = {
            "total": len(self._vertexes),
            "completed": _count(info.completed for info in self._vertexes.values()),
            "user_total": len(users),
            "user_cached": _count(info.cached for info in users),
            "user_completed": _count(info.completed for info in users),
            "user_cacheable": _count(not info.is_from for info in users),
            "from": _count(info.is_from for info in users),
            "miss": len(missed),
            "client_duration_ms": duration_ms,
        }
        return "".join(f"cache miss: {info.name}\n" for info in missed) + json.marshal(counts) + "\n"


def _count(flags: Iterable[bool]) -> int:
    return sum(flags)
