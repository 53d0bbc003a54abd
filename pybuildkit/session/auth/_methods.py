"""The methods of the service moby.filesync.v1.Auth. Mirrors session/auth/auth.proto, v0.32.2."""

from __future__ import annotations

from pybuildkit.rpc import Method
from pybuildkit.session.auth import auth_pb2 as pb

CREDENTIALS = Method.of("/moby.filesync.v1.Auth/Credentials", pb.CredentialsRequest, pb.CredentialsResponse)
FETCH_TOKEN = Method.of("/moby.filesync.v1.Auth/FetchToken", pb.FetchTokenRequest, pb.FetchTokenResponse)
GET_TOKEN_AUTHORITY = Method.of(
    "/moby.filesync.v1.Auth/GetTokenAuthority", pb.GetTokenAuthorityRequest, pb.GetTokenAuthorityResponse
)
VERIFY_TOKEN_AUTHORITY = Method.of(
    "/moby.filesync.v1.Auth/VerifyTokenAuthority", pb.VerifyTokenAuthorityRequest, pb.VerifyTokenAuthorityResponse
)
