"""Logging in at registries with what a client's session gives.

Mirrors util/resolver/authorizer.go, v0.32.2.

A registry that answers 401 names a scheme. Basic: the session is asked for credentials. Bearer: a session that
fetches tokens itself (it has a token authority) is asked for one; else the daemon fetches it with the session's
credentials, or anonymously.

Differs from BuildKit: credentials and tokens are kept for one build, never for the next one.
"""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from pybuildkit.golang import threads
from pybuildkit.golang.context import Context
from pybuildkit.golang.errors import BuildkitError, wrap
from pybuildkit.session import Manager
from pybuildkit.session._group import Group, NoActiveSessionsError
from pybuildkit.session.auth import auth_pb2, credentials_func, fetch_token, get_token_authority
from pybuildkit.third_party.containerd.remotes.docker import (
    Challenge,
    HTTPClient,
    Token,
    TokenOptions,
    UnexpectedStatusError,
    fetch_token_with_oauth,
    generate_token_options,
    parse_auth_header,
)
from pybuildkit.third_party.containerd.remotes.docker import fetch_token as fetch_token_with_get

_CLIENT_ID = "buildkit-client"
_DEFAULT_SECONDS = 60


def merged_scopes(scopes: Sequence[str]) -> list[str]:
    """The scopes, one for each repository with all its actions, in order."""
    actions: dict[str, set[str]] = {}
    for scope in scopes:
        resource, colon, wanted = scope.rpartition(":")
        actions.setdefault(resource if colon else scope, set()).update(wanted.split(",") if colon else [])
    return [f"{name}:{','.join(sorted(wanted))}" if wanted else name for name, wanted in sorted(actions.items())]


@dataclass
class _Login:
    """How to log in at a host: a Basic header, or where tokens come from."""

    header: str = ""
    options: TokenOptions | None = None
    from_session: bool = False
    tokens: dict[str, tuple[str, float]] = field(default_factory=dict)


class Authorizer:
    """The logins of one build.

    Args:
        manager, group: whose sessions are asked.
    """

    def __init__(self, manager: Manager, group: Group) -> None:
        self._manager = manager
        self._group = group
        self._logins: dict[str, _Login] = {}
        self._lock = asyncio.Lock()

    async def header(self, ctx: Context, host: str, scopes: Sequence[str]) -> str:
        """The value of a request's Authorization, "" where none is known to be needed.

        Raises:
            BuildkitError: no token was given.
        """
        async with self._lock:
            login = self._logins.get(host)
            if login is None or login.options is None:
                return login.header if login is not None else ""
            wanted = merged_scopes([*login.options.scopes, *scopes])
            key = " ".join(wanted)
            known = login.tokens.get(key)
            if known is None or known[1] <= time.monotonic():
                token = await self._token(ctx, host, login, wanted)
                lasts = (token.expires_in or _DEFAULT_SECONDS) * 0.9
                known = login.tokens[key] = (token.token, time.monotonic() + lasts)
            return f"Bearer {known[0]}"

    async def challenged(self, ctx: Context, host: str, values: Sequence[str], again: bool) -> bool:
        """Learn from a registry's 401 how to log in; whether a new attempt makes sense.

        Args:
            values: of the answer's WWW-Authenticate.
            again: the request had been sent with what this authorizer gave.

        Raises:
            BuildkitError: the session failed to answer.
        """
        async with self._lock:
            for challenge in parse_auth_header(values):
                if challenge.scheme == "bearer":
                    return await self._bearer(ctx, host, challenge, again)
                if challenge.scheme == "basic" and not again:
                    user, secret = await self._credentials(ctx, host)
                    if user and secret:
                        login = base64.b64encode(f"{user}:{secret}".encode("utf-8", "surrogateescape"))
                        self._logins[host] = _Login(header=f"Basic {login.decode()}")
                        return True
            return False

    async def _bearer(self, ctx: Context, host: str, challenge: Challenge, again: bool) -> bool:
        known = self._logins.pop(host, None)
        scopes = list(known.options.scopes) if known is not None and known.options is not None else []
        if again and challenge.parameters.get("error") != "insufficient_scope":
            return False
        user = secret = ""
        try:
            authority = await get_token_authority(ctx, host, self._manager, self._group)
        except NoActiveSessionsError:
            authority = None
        if authority is None:
            user, secret = await self._credentials(ctx, host)
        options = generate_token_options(user, secret, challenge)
        wanted = merged_scopes([*options.scopes, *scopes])
        if again and wanted == scopes:
            return False
        options = TokenOptions(
            realm=options.realm, service=options.service, scopes=wanted, username=user, secret=secret
        )
        self._logins[host] = _Login(options=options, from_session=authority is not None)
        return True

    async def _credentials(self, ctx: Context, host: str) -> tuple[str, str]:
        try:
            _, user, secret = await credentials_func(ctx, self._manager, self._group)(host)
        except NoActiveSessionsError:
            return "", ""
        return user, secret

    async def _token(self, ctx: Context, host: str, login: _Login, scopes: list[str]) -> Token:
        options = login.options
        assert options is not None
        if login.from_session:
            request = auth_pb2.FetchTokenRequest(
                ClientID=_CLIENT_ID, Host=host, Realm=options.realm, Service=options.service, Scopes=scopes
            )
            answer = await fetch_token(ctx, request, self._manager, self._group)
            return Token(token=answer.Token, expires_in=answer.ExpiresIn)
        asked = TokenOptions(
            realm=options.realm,
            service=options.service,
            scopes=scopes,
            username=options.username,
            secret=options.secret,
        )
        return await threads.call(ctx, lambda: _fetch(asked))


def _fetch(options: TokenOptions) -> Token:
    client = HTTPClient()
    if not options.secret:
        try:
            return fetch_token_with_get(client, options)
        except BuildkitError as err:
            raise wrap(err, "failed to fetch anonymous token") from err
    try:
        try:
            return fetch_token_with_get(client, options)
        except UnexpectedStatusError as err:
            if err.status_code not in (401, 404) and not (err.status_code == 405 and options.username):
                raise
            return fetch_token_with_oauth(client, _CLIENT_ID, options)
    except BuildkitError as err:
        raise wrap(err, "failed to fetch oauth token") from err
