"""`ssh://[USER@]HOST[:PORT][/SOCKET]`: a daemon on another machine.

Mirrors client/connhelper/ssh, v0.32.2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pybuildkit.golang.errors import BuildkitError
from pybuildkit.golang.strconv import quote

if TYPE_CHECKING:
    from pybuildkit.client._dial import Dialer
    from pybuildkit.golang.url import URL
    from pybuildkit.rpc import Endpoint


def command(parsed: URL) -> list[str]:
    """The ssh command that reaches the daemon.

    Raises:
        BuildkitError: for a missing host, a password, a query or a fragment.
    """
    if parsed.password is not None:
        raise BuildkitError("plain-text password is not supported")
    host = parsed.hostname()
    if not host:
        raise BuildkitError("no host specified")
    if parsed.raw_query:
        raise BuildkitError(f"extra query after the host: {quote(parsed.raw_query)}")
    if parsed.fragment:
        raise BuildkitError(f"extra fragment after the host: {quote(parsed.fragment)}")
    words = ["ssh"]
    if parsed.user:
        words += ["-l", parsed.user]
    if parsed.port():
        words += ["-p", parsed.port()]
    words += ["--", host, "buildctl"]
    if parsed.path:
        words += ["--addr", f"unix://{parsed.path}"]
    return [*words, "dial-stdio"]


def helper(parsed: URL) -> Dialer:
    """The dialer of such an address."""
    from pybuildkit.client.connhelper import _command

    words = command(parsed)

    def dial(timeout: float | None) -> Endpoint:
        return _command.dial(words)

    return dial
