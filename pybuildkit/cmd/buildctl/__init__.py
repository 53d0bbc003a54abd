"""The `pybuildctl` command. Mirrors cmd/buildctl, v0.32.2."""

from __future__ import annotations

from pybuildkit._lazy import attach

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pybuildkit.cmd.buildctl._main import main as main

__getattr__, __all__ = attach(__name__, {"main": "_main"})
