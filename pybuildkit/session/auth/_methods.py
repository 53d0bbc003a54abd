"""The methods of the service moby.filesync.v1.Auth. Mirrors session/auth/auth.proto, v0.32.2.

A login is bytes that need not be UTF-8, and Go sends and takes them as they are; protobuf's own class for the answer to
Credentials does not. So that answer is encoded by hand, its texts with surrogates for what is no UTF-8.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from pybuildkit.rpc import Method, RpcError
from pybuildkit.session.auth import auth_pb2 as pb
from pybuildkit.third_party.fsutil._wire import WireError, decode_varint, encode_varint, skip_field


class Credentials(Protocol):
    """The fields of a CredentialsResponse."""

    @property
    def Username(self) -> str: ...

    @property
    def Secret(self) -> str: ...


@dataclass(frozen=True, repr=False)
class Login:
    """A user name and a secret, as in a CredentialsResponse."""

    Username: str = ""
    Secret: str = ""


def _encode(message: Credentials) -> bytes:
    fields = ((b"\x0a", message.Username), (b"\x12", message.Secret))
    data = b""
    for tag, text in fields:
        value = text.encode("utf-8", "surrogateescape")
        data += tag + encode_varint(len(value)) + value if value else b""
    return data


_PLAIN = Method.of("/moby.filesync.v1.Auth/Credentials", pb.CredentialsRequest, pb.CredentialsResponse)


def _decode(data: bytes) -> Credentials:
    """The message; raises RpcError (Internal) for bytes that are none."""
    try:
        return _PLAIN.decode_response(data)
    except RpcError as err:
        failure = err  # as far as it can be told: the texts may be what is no UTF-8
    found = {b"\x0a": "", b"\x12": ""}
    position, end = 0, len(data)
    try:
        while position < end:
            tag, after = data[position : position + 1], skip_field(data, position, end)
            if tag in found:
                _, start = decode_varint(data, position + 1, end)
                found[tag] = data[start:after].decode("utf-8", "surrogateescape")
            position = after
    except WireError:
        raise failure from None
    return Login(*found.values())


CREDENTIALS: Method[pb.CredentialsRequest, Credentials] = Method(
    _PLAIN.path,
    client_streaming=False,
    server_streaming=False,
    encode_request=_PLAIN.encode_request,
    decode_request=_PLAIN.decode_request,
    encode_response=_encode,
    decode_response=_decode,
)
FETCH_TOKEN = Method.of("/moby.filesync.v1.Auth/FetchToken", pb.FetchTokenRequest, pb.FetchTokenResponse)
GET_TOKEN_AUTHORITY = Method.of(
    "/moby.filesync.v1.Auth/GetTokenAuthority", pb.GetTokenAuthorityRequest, pb.GetTokenAuthorityResponse
)
VERIFY_TOKEN_AUTHORITY = Method.of(
    "/moby.filesync.v1.Auth/VerifyTokenAuthority", pb.VerifyTokenAuthorityRequest, pb.VerifyTokenAuthorityResponse
)
