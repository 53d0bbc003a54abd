"""Secrets over the session: the daemon asks for one by its id.

Mirrors package session/secrets of BuildKit, v0.32.2. `get_secret` is the daemon's end; the client's end is
`secretsprovider`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pybuildkit._lazy import attach

if TYPE_CHECKING:
    from pybuildkit.session.secrets._methods import GET_SECRET
    from pybuildkit.session.secrets._secrets import SecretNotFoundError, SecretStore, get_secret

_EXPORTS = {
    "GET_SECRET": "_methods",
    "SecretNotFoundError": "_secrets",
    "SecretStore": "_secrets",
    "get_secret": "_secrets",
}

__all__ = ["GET_SECRET", "SecretNotFoundError", "SecretStore", "get_secret"]

__getattr__, _ = attach(__name__, _EXPORTS)
