"""`docker-container://`, `podman-container://` and `nerdctl-container://`: a daemon in a container.

Mirrors client/connhelper/{dockercontainer,podmancontainer,nerdctlcontainer}, v0.32.2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pybuildkit.golang.errors import BuildkitError

if TYPE_CHECKING:
    from pybuildkit.client._dial import Dialer
    from pybuildkit.golang.url import URL
    from pybuildkit.rpc import Endpoint


def command(parsed: URL) -> list[str]:
    """The command that reaches the container's daemon.

    Raises:
        BuildkitError: when the URL names no container.
    """
    container = parsed.hostname()
    if not container:
        raise BuildkitError("url lacks container name")
    query = parsed.query()
    dial_stdio = ["-i", container, "buildctl", "dial-stdio"]
    if parsed.scheme == "podman-container":
        return ["podman", "exec", *dial_stdio]
    if parsed.scheme == "nerdctl-container":
        namespace = query.get("namespace", [""])[0]
        return ["nerdctl", "exec", *(["--namespace", namespace] if namespace else []), *dial_stdio]
    context = query.get("context", [""])[0]
    return ["docker", *([f"--context={context}"] if context else []), "exec", *dial_stdio]


def helper(parsed: URL) -> Dialer:
    """The dialer of such an address."""
    from pybuildkit.client.connhelper import _command

    words = command(parsed)

    def dial(timeout: float | None) -> Endpoint:
        return _command.dial(words)

    return dial
