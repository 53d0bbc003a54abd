"""`kube-pod://POD?context=…&namespace=…&container=…`: a daemon in a Kubernetes pod.

Mirrors client/connhelper/kubepod, v0.32.2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pybuildkit.golang.errors import BuildkitError
from pybuildkit.golang.strconv import quote

if TYPE_CHECKING:
    from pybuildkit.client._dial import Dialer
    from pybuildkit.golang.url import URL
    from pybuildkit.rpc import Endpoint

_IDENTIFIER = frozenset("-abcdefghijklmnopqrstuvwxyz0123456789.")


def _valid(name: str) -> bool:
    return name != "" and _IDENTIFIER.issuperset(name)


def command(parsed: URL) -> list[str]:
    """The command that reaches the pod's daemon.

    Raises:
        BuildkitError: when a name is missing or has characters that Kubernetes does not allow.
    """
    query = {key: values[0] for key, values in parsed.query().items()}
    pod = parsed.hostname()
    namespace = query.get("namespace", "")
    container = query.get("container", "")
    if namespace and not _valid(namespace):
        raise BuildkitError(f"unsupported namespace name: {quote(namespace)}")
    if not pod:
        raise BuildkitError("url lacks pod name")
    if not _valid(pod):
        raise BuildkitError(f"unsupported pod name: {quote(pod)}")
    if container and not _valid(container):
        raise BuildkitError(f"unsupported container name: {quote(container)}")
    where = [f"--context={query.get('context', '')}", f"--namespace={namespace}"]
    return ["kubectl", *where, "exec", f"--container={container}", "-i", pod, "--", "buildctl", "dial-stdio"]


def helper(parsed: URL) -> Dialer:
    """The dialer of such an address."""
    from pybuildkit.client.connhelper import _command

    words = command(parsed)

    def dial(timeout: float | None) -> Endpoint:
        return _command.dial(words)

    return dial
