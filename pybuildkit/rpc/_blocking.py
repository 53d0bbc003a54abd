"""The client without asyncio, for one call after the other."""

from __future__ import annotations

from collections.abc import Iterator

from pybuildkit.rpc._types import Dialer, Metadata, Method, Req, Resp


class BlockingChannel:
    """Calls to one peer, one at a time, that block."""

    def __init__(
        self,
        dialer: Dialer,
        *,
        authority: str = "localhost",
        metadata: Metadata = (),
        timeout: float | None = None,
        max_recv_size: int = 16 << 20,
        user_agent: str = "pybuildkit",
    ) -> None:
        raise NotImplementedError

    def unary(
        self,
        method: Method[Req, Resp],
        request: Req,
        *,
        timeout: float | None = None,
        metadata: Metadata = (),
        wait_for_ready: bool = False,
    ) -> Resp:
        raise NotImplementedError

    def server_stream(
        self, method: Method[Req, Resp], request: Req, *, timeout: float | None = None, metadata: Metadata = ()
    ) -> Iterator[Resp]:
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError
