"""Call stacks that a daemon attaches to its errors. Mirrors package util/stack of BuildKit, v0.32.2.

Differs on purpose: a client's own stacks are Python tracebacks; only the daemon's come as messages.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pybuildkit._lazy import attach

if TYPE_CHECKING:
    from pybuildkit.util.stack._stack import StackError, format_stacks, traces

__all__ = ["StackError", "format_stacks", "traces"]

__getattr__, _ = attach(__name__, dict.fromkeys(__all__, "_stack"))
