"""The gateway service's messages, calls and capabilities. Mirrors package frontend/gateway/pb of BuildKit, v0.32.2."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pybuildkit._lazy import attach

if TYPE_CHECKING:
    from pybuildkit.frontend.gateway.pb._caps import CAPS
    from pybuildkit.frontend.gateway.pb._exit import UNKNOWN_EXIT_STATUS, ExitError

__all__ = ["CAPS", "UNKNOWN_EXIT_STATUS", "ExitError"]

__getattr__, _ = attach(__name__, {"CAPS": "_caps", "UNKNOWN_EXIT_STATUS": "_exit", "ExitError": "_exit"})
