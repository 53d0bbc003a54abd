"""What the commands share: the connection to the daemon, the standard streams, the log.

Mirrors cmd/buildctl/common, v0.32.2. Names are loaded when they are first used.
"""

from __future__ import annotations

from pybuildkit._lazy import attach

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pybuildkit.cmd.buildctl.common._common import command_channel as command_channel
    from pybuildkit.cmd.buildctl.common._common import resolve_channel as resolve_channel
    from pybuildkit.cmd.buildctl.common._common import resolve_client as resolve_client
    from pybuildkit.cmd.buildctl.common._std import Std as Std
    from pybuildkit.cmd.buildctl.common._std import StdClosedError as StdClosedError

__getattr__, __all__ = attach(
    __name__,
    {
        "Std": "_std",
        "StdClosedError": "_std",
        "command_channel": "_common",
        "resolve_channel": "_common",
        "resolve_client": "_common",
    },
)
