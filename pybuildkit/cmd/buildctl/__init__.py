"""The `pybuildctl` command. Mirrors cmd/buildctl, v0.32.2."""

from __future__ import annotations

from pybuildkit.cmd.buildctl._main import main

__all__ = ["main"]
