"""A BuildKit daemon in Python: the embedded default, the double for tests, and the judge of other clients.

    fake-buildkitd --addr unix:///run/buildkitd.sock      stands alone
    embedded://                                           in the client's own process
    fake_buildkitd.Daemon(...)                            in a test, with scripts and faults

It follows BuildKit v0.32.2 in what a client sees. It runs no processes and fetches nothing from the network.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pybuildkit._lazy import attach

if TYPE_CHECKING:
    from fake_buildkitd.server import Daemon

__all__ = ["Daemon"]

__getattr__, _ = attach(__name__, {"Daemon": "server"})
