"""Both ends of the secrets service."""

from __future__ import annotations

import pytest

from pybuildkit.golang import context
from pybuildkit.golang.errors import BuildkitError, error_text, find, wrap
from pybuildkit.rpc import Code, RpcError
from pybuildkit.session import secrets
from pybuildkit.session.secrets import secretsprovider
from pybuildkit.session.secrets.secrets_pb2 import GetSecretRequest
from tests.session.pair import session_pair

BG = context.background()


async def test_value_reaches_the_daemon() -> None:
    async with session_pair(secretsprovider.from_map({"a": b"\0\xff", "empty": b""})) as caller:
        assert await secrets.get_secret(BG, caller, "a") == b"\0\xff"
        assert await secrets.get_secret(BG, caller, "empty") == b""


async def test_unknown_secret_and_unknown_service() -> None:
    for services in ([secretsprovider.from_map({})], []):
        async with session_pair(*services) as caller:
            with pytest.raises(Exception, match="secret x: not found") as caught:
                await secrets.get_secret(BG, caller, "x")
            assert find(caught.value, secrets.SecretNotFoundError) is not None


async def test_provider_answers_with_statuses() -> None:
    provider = secretsprovider.from_map({"big": bytes(secretsprovider.MAX_SECRET_SIZE + 1)})
    with pytest.raises(RpcError) as caught:
        await provider.get_secret(BG, GetSecretRequest(ID="x"))
    assert caught.value.code == Code.NOT_FOUND
    assert str(caught.value) == "rpc error: code = NotFound desc = not found"
    with pytest.raises(Exception, match="invalid secret size 512001") as large:
        await provider.get_secret(BG, GetSecretRequest(ID="big"))
    assert error_text(large.value) == "invalid secret size 512001"


class FailingStore:
    """A store whose source is broken."""

    async def get_secret(self, ctx: context.Context, secret_id: str) -> bytes:
        raise wrap(BuildkitError("the vault is sealed"), secret_id)


async def test_store_that_fails() -> None:
    """Its reason reaches the daemon, which does not take the secret for one that is not there."""
    async with session_pair(secretsprovider.new_secret_provider(FailingStore())) as caller:
        with pytest.raises(RpcError) as caught:
            await secrets.get_secret(BG, caller, "x")
    assert caught.value.code == Code.UNKNOWN
    assert error_text(caught.value) == "rpc error: code = Unknown desc = x: the vault is sealed"
