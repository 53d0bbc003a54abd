"""Where an error came from, for `--debug`: the daemon's stacks, then this program's.

Mirrors the stack formatter of util/stack, v0.32.2: for each stack the process' id, version and command line, then a
function and its place for each frame, innermost first, and an empty line. Differs: in the command line passwords in
URLs are masked, users of web addresses that have no password (a token may stand there), and whatever follows a name
such as secret_access_key or token in its argument.
"""

from __future__ import annotations

import os
import sys
import traceback

from pybuildkit.cmd.buildctl._version import VERSION
from pybuildkit.golang import errors
from pybuildkit.golang.url import redacted
from pybuildkit.util import stack


def _command_line() -> str:
    """The command line, without the secrets that it holds."""
    return " ".join(_shown(argument) for argument in sys.argv)


def _shown(argument: str) -> str:
    """An argument without passwords, users that are tokens, and what follows a name that promises a secret."""
    import re

    shown = re.sub(r"(https?://)[^\s/@:]+@", r"\1xxxxx@", redacted(argument))
    return re.sub(r"(?is)([\w.-]*(?:secret|token|passw|credential)[\w.-]*=).*", r"\1xxxxx", shown)


def format_stacks(err: BaseException) -> str:
    """The stacks of an error and of what it was made from."""
    out = [stack.format_stacks(err)]
    innermost = [layer for layer in errors.layers(err) if layer.__traceback__ is not None]
    if innermost:
        out.append(f"{os.getpid()} {VERSION} {_command_line()}\n")
        frames = reversed(traceback.extract_tb(innermost[-1].__traceback__))
        out.extend(f"{frame.name}\n\t{frame.filename}:{frame.lineno}\n" for frame in frames)
        out.append("\n")
    return "".join(out)
