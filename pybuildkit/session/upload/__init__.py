"""Uploads: the daemon reads a stream of the client as if it were an HTTP source.

Mirrors package session/upload of BuildKit, v0.32.2. `new` is the daemon's end; the client's end is `uploadprovider`.

Protocol: the call Pull names the URL's path and host in the request headers `urlpath` and `urlhost`; its responses
carry the bytes, and its end is theirs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pybuildkit._lazy import attach

if TYPE_CHECKING:
    from pybuildkit.session.upload._methods import PULL
    from pybuildkit.session.upload._upload import KEY_HOST, KEY_PATH, Upload, new

_EXPORTS = {
    "KEY_HOST": "_upload",
    "KEY_PATH": "_upload",
    "PULL": "_methods",
    "Upload": "_upload",
    "new": "_upload",
}

__all__ = ["KEY_HOST", "KEY_PATH", "PULL", "Upload", "new"]

__getattr__, _ = attach(__name__, _EXPORTS)
