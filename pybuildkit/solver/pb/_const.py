"""Indexes and names with a fixed meaning in LLB.

Mirrors solver/pb/const.go and solver/pb/securitymode.go, v0.32.2.
"""

from __future__ import annotations

from typing import Final

from pybuildkit.golang.errors import BuildkitError

ROOT_MOUNT: Final = "/"
"""Where an exec op's root file system is mounted."""

SKIP_OUTPUT: Final = -1
"""The output index of a mount or file action whose result nobody can use."""

EMPTY: Final = -1
"""The input index of an input without content (scratch)."""

LLB_BUILDER: Final = -1
"""The builder of a build op that takes its definition straight from an input."""

LLB_DEFINITION_INPUT: Final = "buildkit.llb.definition"
"""The name of the input that holds a build op's definition."""

LLB_DEFAULT_DEFINITION_FILE: Final = LLB_DEFINITION_INPUT
"""The file that a build op reads its definition from unless told otherwise."""


class SecurityModeError(BuildkitError):
    """A security mode that does not exist."""


def validate_security_mode(mode: int) -> None:
    """Raise SecurityModeError unless `mode` is SANDBOX (0) or INSECURE (1)."""
    if mode not in (0, 1):
        raise SecurityModeError(f"invalid security mode {mode}")
