"""Connection helpers: addresses that need more than a socket.

Mirrors package client/connhelper of BuildKit, v0.32.2, and its sub-packages, a module each.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pybuildkit.golang import url

if TYPE_CHECKING:
    from pybuildkit.client._dial import Dialer

_HELPERS = {
    "docker": "_docker",
    "docker-container": "_containers",
    "embedded": "_embedded",
    "kube-pod": "_kubepod",
    "nerdctl-container": "_containers",
    "npipe": "_npipe",
    "podman-container": "_containers",
    "ssh": "_ssh",
}


def get_connection_helper(address: str) -> Dialer | None:
    """The dialer of an address that has a helper's scheme, or None.

    Raises:
        BuildkitError: when the address is no URL or lacks what the helper needs.
    """
    parsed = url.parse(address)
    module = _HELPERS.get(parsed.scheme)
    if module is None:
        return None
    from importlib import import_module

    dialer: Dialer = import_module(f"{__name__}.{module}").helper(parsed)
    return dialer
