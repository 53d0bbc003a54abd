"""The method of the service moby.buildkit.secrets.v1.Secrets. Mirrors session/secrets/secrets.proto, v0.32.2."""

from __future__ import annotations

from pybuildkit.rpc import Method
from pybuildkit.session.secrets.secrets_pb2 import GetSecretRequest, GetSecretResponse

GET_SECRET = Method.of("/moby.buildkit.secrets.v1.Secrets/GetSecret", GetSecretRequest, GetSecretResponse)
