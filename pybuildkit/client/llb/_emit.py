"""A definition on standard output, for piping into a command that builds it.

Has no counterpart in Go.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from pybuildkit.client.llb._definition import write_to
from pybuildkit.client.llb._errors import LLBError, PendingError
from pybuildkit.golang.context import background

if TYPE_CHECKING:
    from pybuildkit.client.llb._constraints import ConstraintsOpt
    from pybuildkit.client.llb._definition import Definition, Writer
    from pybuildkit.client.llb._state import State


def emit(state: State, *opts: ConstraintsOpt, file: Writer | None = None) -> None:
    """Marshal a state and write the definition.

    Args:
        opts: as for `State.marshal`.
        file: where to write; standard output unless given.

    Raises:
        LLBError: the graph cannot be marshalled, or standard output is a terminal.
    """
    if file is None and sys.stdout.isatty():
        raise LLBError("standard output is a terminal: pipe the definition into a build, or write it to a file")
    write_to(_marshal(state, opts), file if file is not None else sys.stdout.buffer)
    if file is None:
        sys.stdout.buffer.flush()


def _marshal(state: State, opts: tuple[ConstraintsOpt, ...]) -> Definition:
    try:
        return state.marshal_sync(*opts)
    except PendingError:
        import asyncio

        return asyncio.run(state.marshal(background(), *opts))
