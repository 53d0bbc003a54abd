"""How often a display may draw.

Mirrors the Limiter of golang.org/x/time/rate (v0.15.0) with a burst of one, as the display uses it: one token, filled
again at a steady rate; a refused attempt changes nothing.
"""

from __future__ import annotations

_SECOND = 1_000_000_000


class Limiter:
    """Allows something once every `interval` nanoseconds, the first time at once."""

    __slots__ = ("_last", "_limit", "_tokens")

    def __init__(self, interval: int) -> None:
        self._limit = 1 / (interval / _SECOND)
        self._tokens = 1.0
        self._last: int | None = None

    def allow(self, now: int) -> bool:
        """Whether it may be done now; a yes counts as done.

        Args:
            now: nanoseconds of any steady clock.
        """
        elapsed = 0 if self._last is None else max(now - self._last, 0)
        tokens = min(self._tokens + elapsed / _SECOND * self._limit, 1.0) - 1.0
        if tokens < 0 and int(-tokens / self._limit * _SECOND) > 0:
            return False
        self._last = now
        self._tokens = tokens
        return True
