"""The methods of the service moby.sshforward.v1.SSH. Mirrors session/sshforward/ssh.proto, v0.32.2."""

from __future__ import annotations

from pybuildkit.rpc import Method
from pybuildkit.session.sshforward.ssh_pb2 import BytesMessage, CheckAgentRequest, CheckAgentResponse

CHECK_AGENT = Method.of("/moby.sshforward.v1.SSH/CheckAgent", CheckAgentRequest, CheckAgentResponse)
FORWARD_AGENT = Method.of(
    "/moby.sshforward.v1.SSH/ForwardAgent", BytesMessage, BytesMessage, client_streaming=True, server_streaming=True
)
