"""The daemon's end: a store of a session. Mirrors session/content/caller.go, v0.32.2."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pybuildkit.session.content._attachable import GRPC_HEADER_ID
from pybuildkit.third_party.containerd.content.proxy import ProxyStore

if TYPE_CHECKING:
    from pybuildkit.golang.context import Context
    from pybuildkit.session import Caller


class CallerStore(ProxyStore):
    """A store that a session offers; its calls end with the session."""

    def __init__(self, caller: Caller, store_id: str) -> None:
        super().__init__(caller.conn(), [(GRPC_HEADER_ID, store_id)])
        self._caller = caller

    def _context(self, ctx: Context) -> Context:
        return self._caller.context(ctx)


def new_caller_store(caller: Caller, store_id: str) -> CallerStore:
    """The store with an id that a session offers; nothing is asked yet.

    Args:
        caller: the session.
        store_id: the id by which the client offers it.
    """
    return CallerStore(caller, store_id)
