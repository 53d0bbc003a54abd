"""The calls of the control service.

Mirrors api/services/control/control.proto, v0.32.2.
"""

from pybuildkit.api.services.control import control_pb2 as pb
from pybuildkit.rpc import Method

DISK_USAGE = Method.of("/moby.buildkit.v1.Control/DiskUsage", pb.DiskUsageRequest, pb.DiskUsageResponse)
PRUNE = Method.of("/moby.buildkit.v1.Control/Prune", pb.PruneRequest, pb.UsageRecord, server_streaming=True)
SOLVE = Method.of("/moby.buildkit.v1.Control/Solve", pb.SolveRequest, pb.SolveResponse)
STATUS = Method.of("/moby.buildkit.v1.Control/Status", pb.StatusRequest, pb.StatusResponse, server_streaming=True)
SESSION = Method.of(
    "/moby.buildkit.v1.Control/Session", pb.BytesMessage, pb.BytesMessage, client_streaming=True, server_streaming=True
)
LIST_WORKERS = Method.of("/moby.buildkit.v1.Control/ListWorkers", pb.ListWorkersRequest, pb.ListWorkersResponse)
INFO = Method.of("/moby.buildkit.v1.Control/Info", pb.InfoRequest, pb.InfoResponse)
LISTEN_BUILD_HISTORY = Method.of(
    "/moby.buildkit.v1.Control/ListenBuildHistory", pb.BuildHistoryRequest, pb.BuildHistoryEvent, server_streaming=True
)
UPDATE_BUILD_HISTORY = Method.of(
    "/moby.buildkit.v1.Control/UpdateBuildHistory", pb.UpdateBuildHistoryRequest, pb.UpdateBuildHistoryResponse
)
