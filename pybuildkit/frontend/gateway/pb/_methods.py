"""The calls of the gateway service.

Mirrors frontend/gateway/pb/gateway.proto, v0.32.2.
"""

from pybuildkit.frontend.gateway.pb import gateway_pb2 as pb
from pybuildkit.rpc import Method

RESOLVE_IMAGE_CONFIG = Method.of(
    "/moby.buildkit.v1.frontend.LLBBridge/ResolveImageConfig",
    pb.ResolveImageConfigRequest,
    pb.ResolveImageConfigResponse,
)
RESOLVE_SOURCE_META = Method.of(
    "/moby.buildkit.v1.frontend.LLBBridge/ResolveSourceMeta", pb.ResolveSourceMetaRequest, pb.ResolveSourceMetaResponse
)
SOLVE = Method.of("/moby.buildkit.v1.frontend.LLBBridge/Solve", pb.SolveRequest, pb.SolveResponse)
READ_FILE = Method.of("/moby.buildkit.v1.frontend.LLBBridge/ReadFile", pb.ReadFileRequest, pb.ReadFileResponse)
READ_DIR = Method.of("/moby.buildkit.v1.frontend.LLBBridge/ReadDir", pb.ReadDirRequest, pb.ReadDirResponse)
STAT_FILE = Method.of("/moby.buildkit.v1.frontend.LLBBridge/StatFile", pb.StatFileRequest, pb.StatFileResponse)
EVALUATE = Method.of("/moby.buildkit.v1.frontend.LLBBridge/Evaluate", pb.EvaluateRequest, pb.EvaluateResponse)
PING = Method.of("/moby.buildkit.v1.frontend.LLBBridge/Ping", pb.PingRequest, pb.PongResponse)
RETURN = Method.of("/moby.buildkit.v1.frontend.LLBBridge/Return", pb.ReturnRequest, pb.ReturnResponse)
INPUTS = Method.of("/moby.buildkit.v1.frontend.LLBBridge/Inputs", pb.InputsRequest, pb.InputsResponse)
NEW_CONTAINER = Method.of(
    "/moby.buildkit.v1.frontend.LLBBridge/NewContainer", pb.NewContainerRequest, pb.NewContainerResponse
)
RELEASE_CONTAINER = Method.of(
    "/moby.buildkit.v1.frontend.LLBBridge/ReleaseContainer", pb.ReleaseContainerRequest, pb.ReleaseContainerResponse
)
EXEC_PROCESS = Method.of(
    "/moby.buildkit.v1.frontend.LLBBridge/ExecProcess",
    pb.ExecMessage,
    pb.ExecMessage,
    client_streaming=True,
    server_streaming=True,
)
READ_FILE_CONTAINER = Method.of(
    "/moby.buildkit.v1.frontend.LLBBridge/ReadFileContainer", pb.ReadFileRequest, pb.ReadFileResponse
)
READ_DIR_CONTAINER = Method.of(
    "/moby.buildkit.v1.frontend.LLBBridge/ReadDirContainer", pb.ReadDirRequest, pb.ReadDirResponse
)
STAT_FILE_CONTAINER = Method.of(
    "/moby.buildkit.v1.frontend.LLBBridge/StatFileContainer", pb.StatFileRequest, pb.StatFileResponse
)
WARN = Method.of("/moby.buildkit.v1.frontend.LLBBridge/Warn", pb.WarnRequest, pb.WarnResponse)
