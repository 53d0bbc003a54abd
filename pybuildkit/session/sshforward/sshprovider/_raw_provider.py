"""The ssh service over dialers. Mirrors session/sshforward/sshprovider/raw_provider.go, v0.32.2."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING

from pybuildkit.golang.errors import BuildkitError, wrap

if TYPE_CHECKING:
    from pybuildkit.golang.context import Context
    from pybuildkit.rpc import Server, ServerStream
    from pybuildkit.session.sshforward import Conn
    from pybuildkit.session.sshforward.ssh_pb2 import BytesMessage, CheckAgentRequest, CheckAgentResponse

    DialerFn = Callable[[Context], Awaitable[Conn]]
else:
    DialerFn = Callable
"""Opens a connection to what is forwarded."""


class SocketProvider:
    """The ssh service; an Attachable. Each call has a connection of its own.

    Args:
        dialers: by id, what the daemon may reach.
    """

    def __init__(self, dialers: Mapping[str, DialerFn]) -> None:
        self._dialers = dict(dialers)

    def register(self, server: Server) -> None:
        """Offer the service on a server."""
        from pybuildkit.session.sshforward._methods import CHECK_AGENT, FORWARD_AGENT

        server.add_unary(CHECK_AGENT, self.check_agent)
        server.add_stream(FORWARD_AGENT, self.forward_agent)

    def _dialer(self, agent_id: str) -> tuple[str, DialerFn]:
        from pybuildkit.session.sshforward._ssh import DEFAULT_ID

        agent_id = agent_id or DEFAULT_ID
        dialer = self._dialers.get(agent_id)
        if dialer is None:
            raise BuildkitError(f"unset ssh forward key {agent_id}")
        return agent_id, dialer

    async def check_agent(self, ctx: Context, request: CheckAgentRequest) -> CheckAgentResponse:
        """Answer whether there is an agent with an id.

        Args:
            ctx: not used; the answer needs no waiting.
            request: the id; empty for "default".

        Raises:
            BuildkitError: there is none.
        """
        from pybuildkit.session.sshforward.ssh_pb2 import CheckAgentResponse

        self._dialer(request.ID)
        return CheckAgentResponse()

    async def forward_agent(self, stream: ServerStream[BytesMessage, BytesMessage]) -> None:
        """Serve one connection of the build until both sides have ended it; when the daemon gives up it is closed.

        Args:
            stream: the daemon's call, whose metadata names the agent.

        Raises:
            BuildkitError: "unset ssh forward key ID", or "failed to dial agent ID: …".
        """
        from pybuildkit.session.sshforward._copy import copy
        from pybuildkit.session.sshforward._ssh import KEY_SSH_ID

        wanted = next((value for name, value in stream.metadata if name == KEY_SSH_ID), "")
        agent_id, dialer = self._dialer(wanted if isinstance(wanted, str) else wanted.decode("utf-8", "replace"))
        try:
            conn = await dialer(stream.ctx)
        except (BuildkitError, OSError) as err:
            raise wrap(err, f"failed to dial agent {agent_id}") from err
        await copy(stream.ctx, conn, stream)
