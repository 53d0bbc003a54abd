"""What both ends of the secrets service share, and the daemon's end. Mirrors session/secrets/secrets.go, v0.32.2."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from pybuildkit.golang import errors
from pybuildkit.golang.errors import BuildkitError

if TYPE_CHECKING:
    from pybuildkit.golang.context import Context
    from pybuildkit.session import Caller


class SecretNotFoundError(BuildkitError):
    """There is no secret with this id."""

    def __str__(self) -> str:
        return "not found"


class SecretStore(Protocol):
    """Finds secrets."""

    async def get_secret(self, ctx: Context, secret_id: str) -> bytes:
        """The secret's value, of at most 500 KiB.

        Args:
            ctx: ends when the daemon gives up or the session ends.
            secret_id: the id that a step asks for.

        Raises:
            SecretNotFoundError: the store does not have it.
            BuildkitError: it cannot be read; the text reaches the daemon.
        """


async def get_secret(ctx: Context, caller: Caller, secret_id: str) -> bytes:
    """Ask a session for a secret.

    Args:
        ctx: ends the question.
        caller: the session.
        secret_id: the secret's id.

    Raises:
        BuildkitError: "secret ID: not found" (around a SecretNotFoundError) where the session has no such secret or
            offers none at all; RpcError for any other failure.
    """
    from pybuildkit.rpc import Code, RpcError
    from pybuildkit.session.secrets._methods import GET_SECRET
    from pybuildkit.session.secrets.secrets_pb2 import GetSecretRequest

    try:
        response = await caller.conn().unary(caller.context(ctx), GET_SECRET, GetSecretRequest(ID=secret_id))
    except RpcError as err:
        if err.code not in (Code.UNIMPLEMENTED, Code.NOT_FOUND):
            raise
    else:
        return response.data
    raise errors.wrap(SecretNotFoundError(), f"secret {secret_id}")
