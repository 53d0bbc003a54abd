"""The byte stream inside a Control.Session call. Mirrors package session/grpchijack of BuildKit, v0.32.2."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pybuildkit._lazy import attach

if TYPE_CHECKING:
    from pybuildkit.session.grpchijack._grpchijack import HijackedStream, dialer, hijack

__all__ = ["HijackedStream", "dialer", "hijack"]

__getattr__, _ = attach(__name__, dict.fromkeys(__all__, "_grpchijack"))
