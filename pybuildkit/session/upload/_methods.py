"""The method of the service moby.upload.v1.Upload. Mirrors session/upload/upload.proto, v0.32.2."""

from __future__ import annotations

from pybuildkit.rpc import Method
from pybuildkit.session.upload.upload_pb2 import BytesMessage

PULL = Method.of(
    "/moby.upload.v1.Upload/Pull", BytesMessage, BytesMessage, client_streaming=True, server_streaming=True
)
