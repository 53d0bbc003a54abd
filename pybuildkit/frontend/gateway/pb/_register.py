"""Makes exit codes known to grpcerrors; imported when the first `gatewayapi.` detail arrives.

Mirrors what init functions of frontend/gateway/pb/exit.go do, v0.32.2.
"""

from pybuildkit.frontend.gateway.pb._exit import ExitError
from pybuildkit.frontend.gateway.pb.gateway_pb2 import ExitMessage
from pybuildkit.util.grpcerrors import register

register("gatewayapi.ExitMessage+json", lambda: (ExitMessage, ExitError))
