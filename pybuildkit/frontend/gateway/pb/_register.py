"""Makes exit codes known to grpcerrors; imported when the first `gatewayapi.` detail arrives."""

from pybuildkit.frontend.gateway.pb._exit import ExitError
from pybuildkit.frontend.gateway.pb.gateway_pb2 import ExitMessage
from pybuildkit.util.grpcerrors import register

register("gatewayapi.ExitMessage+json", lambda: (ExitMessage, ExitError))
