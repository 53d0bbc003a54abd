"""The secrets service over a store. Mirrors session/secrets/secretsprovider/secretsprovider.go, v0.32.2."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pybuildkit.golang.errors import BuildkitError, error_text, find
from pybuildkit.session.secrets._secrets import SecretNotFoundError, SecretStore

if TYPE_CHECKING:
    from pybuildkit.golang.context import Context
    from pybuildkit.rpc import Server
    from pybuildkit.session.secrets.secrets_pb2 import GetSecretRequest, GetSecretResponse

MAX_SECRET_SIZE = 500 * 1024
"""The most bytes that a secret may have."""


class SecretProvider:
    """The secrets service; an Attachable.

    Args:
        store: where the values come from.
    """

    def __init__(self, store: SecretStore) -> None:
        self._store = store

    def register(self, server: Server) -> None:
        """Offer the service on a server."""
        from pybuildkit.session.secrets._methods import GET_SECRET

        server.add_unary(GET_SECRET, self.get_secret)

    async def get_secret(self, ctx: Context, request: GetSecretRequest) -> GetSecretResponse:
        """Answer one request.

        Args:
            ctx: ends when the daemon gives up; cancelling is up to the store.
            request: the secret's id.

        Raises:
            RpcError: NotFound, for an id that the store does not have.
            BuildkitError: whatever the store raises, or "invalid secret size N".
        """
        from pybuildkit.rpc import Code, RpcError
        from pybuildkit.session.secrets.secrets_pb2 import GetSecretResponse

        try:
            data = await self._store.get_secret(ctx, request.ID)
        except BuildkitError as err:
            if find(err, SecretNotFoundError) is not None:
                raise RpcError(Code.NOT_FOUND, error_text(err)) from None
            raise
        if len(data) > MAX_SECRET_SIZE:
            raise BuildkitError(f"invalid secret size {len(data)}")
        return GetSecretResponse(data=data)


class _MapStore:
    def __init__(self, values: Mapping[str, bytes]) -> None:
        self._values = values

    async def get_secret(self, ctx: Context, secret_id: str) -> bytes:
        value = self._values.get(secret_id)
        if value is None:
            raise SecretNotFoundError
        return value


def new_secret_provider(store: SecretStore) -> SecretProvider:
    """The secrets service over a store, asked each time a step needs a secret.

    Args:
        store: where the values come from.
    """
    return SecretProvider(store)


def from_map(values: Mapping[str, bytes]) -> SecretProvider:
    """The secrets service over a mapping.

    Args:
        values: by id, of at most 500 KiB each; later changes of the mapping count.
    """
    return SecretProvider(_MapStore(values))
