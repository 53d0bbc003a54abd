"""What a registry answers to a request without credentials (RFC 7235).

Mirrors core/remotes/docker/auth/parse.go of github.com/containerd/containerd, v2.3.3.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

_SCHEMES = ("bearer", "digest", "basic")
_TOKEN = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_SCHEME = re.compile(_TOKEN)
_PARAMETER = re.compile(rf'\s*({_TOKEN})=(?:({_TOKEN})|"((?:\\.|[^"\\])*)")\s*(,?)', re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class Challenge:
    """One way to authenticate: "bearer", "digest" or "basic", and its parameters by their lower-case names."""

    scheme: str
    parameters: dict[str, str]


def parse_auth_header(values: Iterable[str]) -> list[Challenge]:
    """The challenges of the values of WWW-Authenticate, the strongest scheme first."""
    found = []
    for value in values:
        match = _SCHEME.match(value)
        if match is not None and match[0].lower() in _SCHEMES:
            found.append(Challenge(scheme=match[0].lower(), parameters=_parameters(value, match.end())))
    return sorted(found, key=lambda challenge: _SCHEMES.index(challenge.scheme))


def _parameters(value: str, position: int) -> dict[str, str]:
    parameters: dict[str, str] = {}
    while (match := _PARAMETER.match(value, position)) is not None:
        name, token, quoted, comma = match.groups()
        parameters[name.lower()] = token if token is not None else re.sub(r"\\(.)", r"\1", quoted, flags=re.DOTALL)
        position = match.end()
        if not comma:
            break
    return parameters
