"""The daemon's end of registry credentials. Mirrors session/auth/auth.go, v0.32.2.

Each function tries the sessions of a group in their order, and gives up after 60 s.
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Awaitable, Callable
from functools import cache
from typing import TYPE_CHECKING, TypeVar

from pybuildkit.golang import context, errors
from pybuildkit.golang.errors import BuildkitError
from pybuildkit.rpc import Code, RpcError
from pybuildkit.session._group import Group, any_session
from pybuildkit.session.auth import _methods as methods
from pybuildkit.session.auth import auth_pb2 as pb
from pybuildkit.third_party import nacl_sign

if TYPE_CHECKING:
    from pybuildkit.golang.context import Context
    from pybuildkit.session import Caller, Manager

T = TypeVar("T")

SESSION_AUTH_SECONDS = 60.0


@cache
def _salt() -> bytes:
    """Makes the keys of this process its own."""
    return os.urandom(32)


async def _any(
    ctx: Context, manager: Manager, group: Group, doing: str, call: Callable[[Context, str, Caller], Awaitable[T]]
) -> T:
    late = errors.wrap(context.DeadlineExceededError(), f"{doing} from session")
    timed, cancel = context.with_timeout_cause(ctx, SESSION_AUTH_SECONDS, late)
    try:
        return await any_session(timed, manager, group, call)
    finally:
        cancel()


def credentials_func(ctx: Context, manager: Manager, group: Group) -> Callable[[str], Awaitable[tuple[str, str, str]]]:
    """A function from a registry's host to the session that answered, a user name and a secret.

    All three are empty where a session does not offer credentials.

    Args:
        ctx: ends a question that is under way with the context's cause.
        manager: knows the sessions.
        group: the sessions that are asked, one after the other, until one answers.
    """

    async def credentials(host: str) -> tuple[str, str, str]:
        async def call(ctx: Context, session_id: str, caller: Caller) -> tuple[str, str, str]:
            request = pb.CredentialsRequest(Host=host)
            try:
                response = await caller.conn().unary(ctx, methods.CREDENTIALS, request)
            except RpcError as err:
                if err.code == Code.UNIMPLEMENTED:
                    return "", "", ""
                raise
            return session_id, response.Username, response.Secret

        return await _any(ctx, manager, group, "resolving credentials", call)

    return credentials


async def fetch_token(
    ctx: Context, request: pb.FetchTokenRequest, manager: Manager, group: Group
) -> pb.FetchTokenResponse:
    """A token that a session's client fetches.

    Args:
        ctx: ends the question; the client then gives its request up.
        request: the registry's host, the token server's address, service and scopes.
        manager: knows the sessions.
        group: the sessions that are asked, one after the other, until one answers.

    Raises:
        BuildkitError: no session could fetch one; the last one's reason.
    """

    async def call(ctx: Context, session_id: str, caller: Caller) -> pb.FetchTokenResponse:
        return await caller.conn().unary(ctx, methods.FETCH_TOKEN, request)

    return await _any(ctx, manager, group, "fetching auth token", call)


async def get_token_authority(ctx: Context, host: str, manager: Manager, group: Group) -> tuple[str, bytes] | None:
    """The session that fetches tokens itself and its public key for a host, or None.

    Args:
        ctx: ends the question.
        host: the registry's host.
        manager: knows the sessions.
        group: the sessions that are asked, one after the other, until one answers.

    Raises:
        BuildkitError: "invalid pubkey length N"; whatever the sessions answer but Unimplemented and Unavailable.
    """

    async def call(ctx: Context, session_id: str, caller: Caller) -> tuple[str, bytes] | None:
        request = pb.GetTokenAuthorityRequest(Host=host, Salt=_salt())
        try:
            response = await caller.conn().unary(ctx, methods.GET_TOKEN_AUTHORITY, request)
        except RpcError as err:
            if err.code in (Code.UNIMPLEMENTED, Code.UNAVAILABLE):
                return None
            raise
        if len(response.PublicKey) != 32:
            raise BuildkitError(f"invalid pubkey length {len(response.PublicKey)}")
        return session_id, response.PublicKey

    return await _any(ctx, manager, group, "getting token authority", call)


async def verify_token_authority(
    ctx: Context, host: str, public_key: bytes, manager: Manager, group: Group
) -> tuple[str, bool]:
    """The session that answered, and whether it has the private key of a host's public one.

    Args:
        ctx: ends the question.
        host: the registry's host.
        public_key: the 32 bytes that `get_token_authority` gave.
        manager: knows the sessions.
        group: the sessions that are asked, one after the other, until one answers.

    Raises:
        BuildkitError: whatever the sessions answer but Unimplemented, which counts as no.
    """

    async def call(ctx: Context, session_id: str, caller: Caller) -> tuple[str, bool]:
        payload = os.urandom(32)
        request = pb.VerifyTokenAuthorityRequest(Host=host, Salt=_salt(), Payload=payload)
        try:
            response = await caller.conn().unary(ctx, methods.VERIFY_TOKEN_AUTHORITY, request)
        except RpcError as err:
            if err.code == Code.UNIMPLEMENTED:
                return "", False
            raise
        opened = nacl_sign.open_signed(response.Signed, public_key)
        return session_id, opened is not None and hmac.compare_digest(opened, payload)

    return await _any(ctx, manager, group, "verifying token authority", call)
