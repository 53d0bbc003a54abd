"""ssh agents and sockets of the client, for the steps of a build.

Mirrors package session/sshforward of BuildKit, v0.32.2. `mount_ssh_socket` and `check_ssh_id` are the daemon's end;
the client's end is `sshprovider`.

Protocol: each connection to the socket in the build is one call ForwardAgent, whose request header
`buildkit.ssh.id` names the agent; the messages of the call are the bytes of the connection in both directions, and
half-closing the call is half-closing the connection.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pybuildkit._lazy import attach

if TYPE_CHECKING:
    from pybuildkit.session.sshforward._copy import Conn, SocketConn, Stream, copy
    from pybuildkit.session.sshforward._methods import CHECK_AGENT, FORWARD_AGENT
    from pybuildkit.session.sshforward._ssh import DEFAULT_ID, KEY_SSH_ID, SocketOpt, check_ssh_id, mount_ssh_socket

_EXPORTS = {
    "CHECK_AGENT": "_methods",
    "DEFAULT_ID": "_ssh",
    "FORWARD_AGENT": "_methods",
    "KEY_SSH_ID": "_ssh",
    "Conn": "_copy",
    "SocketConn": "_copy",
    "SocketOpt": "_ssh",
    "Stream": "_copy",
    "check_ssh_id": "_ssh",
    "copy": "_copy",
    "mount_ssh_socket": "_ssh",
}

__all__ = [
    "CHECK_AGENT",
    "DEFAULT_ID",
    "FORWARD_AGENT",
    "KEY_SSH_ID",
    "Conn",
    "SocketConn",
    "SocketOpt",
    "Stream",
    "check_ssh_id",
    "copy",
    "mount_ssh_socket",
]

__getattr__, _ = attach(__name__, _EXPORTS)
