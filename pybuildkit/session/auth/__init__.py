"""Registry credentials of the client, for the daemon's pulls and pushes.

Mirrors package session/auth of BuildKit, v0.32.2. The functions here are the daemon's end; the client's end is
`authprovider`.

Protocol: a daemon first asks whether the client fetches tokens itself (GetTokenAuthority, a key; later
VerifyTokenAuthority, a signature by it), so that it sees tokens only (FetchToken) and can tell whose they are. From a
client that does not, it asks for the credentials (Credentials).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pybuildkit._lazy import attach

if TYPE_CHECKING:
    from pybuildkit.session.auth._auth import (
        credentials_func,
        fetch_token,
        get_token_authority,
        verify_token_authority,
    )
    from pybuildkit.session.auth._methods import (
        CREDENTIALS,
        FETCH_TOKEN,
        GET_TOKEN_AUTHORITY,
        VERIFY_TOKEN_AUTHORITY,
    )

_EXPORTS = {
    "CREDENTIALS": "_methods",
    "FETCH_TOKEN": "_methods",
    "GET_TOKEN_AUTHORITY": "_methods",
    "VERIFY_TOKEN_AUTHORITY": "_methods",
    "credentials_func": "_auth",
    "fetch_token": "_auth",
    "get_token_authority": "_auth",
    "verify_token_authority": "_auth",
}

__all__ = [
    "CREDENTIALS",
    "FETCH_TOKEN",
    "GET_TOKEN_AUTHORITY",
    "VERIFY_TOKEN_AUTHORITY",
    "credentials_func",
    "fetch_token",
    "get_token_authority",
    "verify_token_authority",
]

__getattr__, _ = attach(__name__, _EXPORTS)
