"""The client's end of ssh forwarding: agents behind sockets, key files, and raw sockets.

Mirrors package session/sshforward/sshprovider of BuildKit, v0.32.2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pybuildkit._lazy import attach

if TYPE_CHECKING:
    from pybuildkit.session.sshforward.sshprovider._agentprovider import AgentConfig, new_ssh_agent_provider
    from pybuildkit.session.sshforward.sshprovider._keys import KeyFileError
    from pybuildkit.session.sshforward.sshprovider._raw_provider import DialerFn, SocketProvider

_EXPORTS = {
    "AgentConfig": "_agentprovider",
    "DialerFn": "_raw_provider",
    "KeyFileError": "_keys",
    "SocketProvider": "_raw_provider",
    "new_ssh_agent_provider": "_agentprovider",
}

__all__ = ["AgentConfig", "DialerFn", "KeyFileError", "SocketProvider", "new_ssh_agent_provider"]

__getattr__, _ = attach(__name__, _EXPORTS)
