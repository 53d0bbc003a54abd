"""Sets of sessions that may serve one request. Mirrors session/group.go, v0.32.2."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

from pybuildkit.golang import context
from pybuildkit.golang.errors import BuildkitError

if TYPE_CHECKING:
    from pybuildkit.golang.context import Context
    from pybuildkit.session import Caller, Manager

T = TypeVar("T")

_GET_SECONDS = 5.0

Group = tuple[str, ...]
"""Ids of sessions, in the order in which they are tried."""


class NoActiveSessionsError(BuildkitError):
    """None of a group's sessions is there."""

    def __str__(self) -> str:
        return "no active sessions"


def new_group(*ids: str) -> Group:
    """A group of the given session ids; empty ids are left out."""
    return tuple(id for id in ids if id)


def all_session_ids(group: Group | None) -> list[str]:
    """The ids of a group; [] for None."""
    return list(group or ())


async def any_session(
    ctx: Context, manager: Manager, group: Group | None, call: Callable[[Context, str, Caller], Awaitable[T]]
) -> T:
    """Call with the first session of the group for which the call succeeds.

    Each session is waited for at most 5 s.

    Raises:
        NoActiveSessionsError: for an empty group.
        BuildkitError: the last session's error when none succeeded.
    """
    last: BuildkitError = NoActiveSessionsError()
    for session_id in group or ():
        timed, cancel = context.with_timeout(ctx, _GET_SECONDS)
        try:
            caller = await manager.get(timed, session_id)
            return await call(caller.context(ctx), session_id, caller)
        except BuildkitError as err:
            last = err
        finally:
            cancel()
    raise last
