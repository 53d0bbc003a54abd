"""The client's end of secrets: a store over files and environment variables, and the service over any store.

Mirrors package session/secrets/secretsprovider of BuildKit, v0.32.2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pybuildkit._lazy import attach

if TYPE_CHECKING:
    from pybuildkit.session.secrets.secretsprovider._secretsprovider import (
        MAX_SECRET_SIZE,
        SecretProvider,
        from_map,
        new_secret_provider,
    )
    from pybuildkit.session.secrets.secretsprovider._store import FileStore, SecretReadError, Source, new_store

_EXPORTS = {
    "MAX_SECRET_SIZE": "_secretsprovider",
    "FileStore": "_store",
    "SecretProvider": "_secretsprovider",
    "SecretReadError": "_store",
    "Source": "_store",
    "from_map": "_secretsprovider",
    "new_secret_provider": "_secretsprovider",
    "new_store": "_store",
}

__all__ = [
    "MAX_SECRET_SIZE",
    "FileStore",
    "SecretProvider",
    "SecretReadError",
    "Source",
    "from_map",
    "new_secret_provider",
    "new_store",
]

__getattr__, _ = attach(__name__, _EXPORTS)
