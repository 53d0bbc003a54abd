"""Tokens of a registry's authorization server.

Mirrors core/remotes/docker/auth of github.com/containerd/containerd, v2.3.3.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pybuildkit._lazy import attach

if TYPE_CHECKING:
    from pybuildkit.third_party.containerd.remotes.docker._challenge import Challenge, parse_auth_header
    from pybuildkit.third_party.containerd.remotes.docker._http import HTTPClient, HTTPRequestError, InsecureRealmError
    from pybuildkit.third_party.containerd.remotes.docker._token import (
        Token,
        TokenError,
        TokenOptions,
        UnexpectedStatusError,
        fetch_token,
        fetch_token_with_oauth,
        generate_token_options,
    )

_EXPORTS = {
    "Challenge": "_challenge",
    "HTTPClient": "_http",
    "HTTPRequestError": "_http",
    "InsecureRealmError": "_http",
    "Token": "_token",
    "TokenError": "_token",
    "TokenOptions": "_token",
    "UnexpectedStatusError": "_token",
    "fetch_token": "_token",
    "fetch_token_with_oauth": "_token",
    "generate_token_options": "_token",
    "parse_auth_header": "_challenge",
}

__all__ = [
    "Challenge",
    "HTTPClient",
    "HTTPRequestError",
    "InsecureRealmError",
    "Token",
    "TokenError",
    "TokenOptions",
    "UnexpectedStatusError",
    "fetch_token",
    "fetch_token_with_oauth",
    "generate_token_options",
    "parse_auth_header",
]

__getattr__, _ = attach(__name__, _EXPORTS)
