"""The asyncio client: calls over a connection that is dialled when it is needed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Generic, TypeVar

from pybuildkit.golang.context import Context
from pybuildkit.rpc._types import ByteStream, Dialer, Metadata, Method, Req, Resp

Req_contra = TypeVar("Req_contra", contravariant=True)
Resp_co = TypeVar("Resp_co", covariant=True)


class ClientStream(Generic[Req_contra, Resp_co]):
    """One call of any shape, from the client's side."""

    async def send(self, message: Req_contra) -> None:
        raise NotImplementedError

    async def send_many(self, messages: Sequence[Req_contra]) -> None:
        raise NotImplementedError

    async def close_send(self) -> None:
        raise NotImplementedError

    async def recv(self) -> Resp_co | None:
        raise NotImplementedError

    async def recv_many(self) -> list[Resp_co]:
        raise NotImplementedError

    def __aiter__(self) -> AsyncIterator[Resp_co]:
        raise NotImplementedError

    async def header(self) -> Metadata:
        raise NotImplementedError

    def trailer(self) -> Metadata:
        raise NotImplementedError

    def cancel(self) -> None:
        raise NotImplementedError


class Channel:
    """Calls to one peer."""

    def __init__(
        self,
        dialer: Dialer,
        *,
        authority: str = "localhost",
        user_agent: str = "pybuildkit",
        max_recv_size: int = 16 << 20,
        metadata: Metadata = (),
        dial_timeout: float | None = 20.0,
    ) -> None:
        raise NotImplementedError

    @classmethod
    def over(
        cls,
        stream: ByteStream,
        *,
        authority: str = "localhost",
        user_agent: str = "pybuildkit",
        max_recv_size: int = 16 << 20,
        metadata: Metadata = (),
        dial_timeout: float | None = 20.0,
    ) -> Channel:
        raise NotImplementedError

    async def unary(
        self,
        ctx: Context,
        method: Method[Req, Resp],
        request: Req,
        *,
        metadata: Metadata = (),
        wait_for_ready: bool = False,
    ) -> Resp:
        raise NotImplementedError

    async def stream(
        self, ctx: Context, method: Method[Req, Resp], *, metadata: Metadata = (), wait_for_ready: bool = False
    ) -> ClientStream[Req, Resp]:
        raise NotImplementedError

    async def ping(self, ctx: Context) -> None:
        raise NotImplementedError

    @property
    def last_activity(self) -> float:
        raise NotImplementedError

    @property
    def closed(self) -> bool:
        raise NotImplementedError

    async def wait_closed(self) -> None:
        raise NotImplementedError

    async def close(self) -> None:
        raise NotImplementedError
