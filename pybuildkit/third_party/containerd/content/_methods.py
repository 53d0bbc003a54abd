"""The methods of the service containerd.services.content.v1.Content.

Mirrors api/services/content/v1/content.proto of github.com/containerd/containerd, v2.3.3.
"""

from __future__ import annotations

from google.protobuf.empty_pb2 import Empty

from pybuildkit.rpc import Method
from pybuildkit.third_party.containerd.content import content_pb2 as pb

_SERVICE = "/containerd.services.content.v1.Content"

INFO = Method.of(f"{_SERVICE}/Info", pb.InfoRequest, pb.InfoResponse)
UPDATE = Method.of(f"{_SERVICE}/Update", pb.UpdateRequest, pb.UpdateResponse)
LIST = Method.of(f"{_SERVICE}/List", pb.ListContentRequest, pb.ListContentResponse, server_streaming=True)
DELETE = Method.of(f"{_SERVICE}/Delete", pb.DeleteContentRequest, Empty)
READ = Method.of(f"{_SERVICE}/Read", pb.ReadContentRequest, pb.ReadContentResponse, server_streaming=True)
STATUS = Method.of(f"{_SERVICE}/Status", pb.StatusRequest, pb.StatusResponse)
LIST_STATUSES = Method.of(f"{_SERVICE}/ListStatuses", pb.ListStatusesRequest, pb.ListStatusesResponse)
WRITE = Method.of(
    f"{_SERVICE}/Write",
    pb.WriteContentRequest,
    pb.WriteContentResponse,
    client_streaming=True,
    server_streaming=True,
)
ABORT = Method.of(f"{_SERVICE}/Abort", pb.AbortRequest, Empty)
