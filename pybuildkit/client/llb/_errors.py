"""The errors of building and marshalling a graph.

Has no counterpart in Go, whose errors of package client/llb have texts and no types.

BuildkitError
└── LLBError             a graph that cannot be marshalled; the text is BuildKit's
    ├── OptionError      an option where it has no meaning (also a TypeError)
    └── PendingError     an asynchronous part that only `await state.marshal(ctx)` can resolve
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pybuildkit.golang.errors import BuildkitError

if TYPE_CHECKING:
    from pybuildkit.client.llb._async import AsyncState
    from pybuildkit.client.llb._constraints import Constraints


class LLBError(BuildkitError):
    """A graph that cannot be marshalled."""


class OptionError(LLBError, TypeError):
    """An argument or option where it has no meaning."""


class PendingError(LLBError):
    """An asynchronous part of a state is not resolved yet.

    Raised inside the package and caught by the functions that take a context; a caller sees it only where it marshals
    a vertex by hand, or asks for a synchronous answer that needs waiting.
    """

    def __init__(self, state: AsyncState | None = None, constraints: Constraints | None = None) -> None:
        super().__init__(state, constraints)
        self.state = state
        self.constraints = constraints

    def __str__(self) -> str:
        return "the state has an asynchronous part; await state.marshal(ctx) resolves it"
