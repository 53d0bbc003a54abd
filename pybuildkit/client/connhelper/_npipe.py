"""`npipe://`: Windows named pipes, which need Windows. Mirrors client/connhelper/npipe, v0.32.2."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pybuildkit.golang.errors import BuildkitError

if TYPE_CHECKING:
    from pybuildkit.client._dial import Dialer
    from pybuildkit.golang.url import URL


def helper(parsed: URL) -> Dialer:
    """Always refuses."""
    raise BuildkitError("npipe connections are only supported on windows")
