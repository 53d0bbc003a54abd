"""The course of one call without I/O: what a client makes of a response, a server of a request.

Not a port; what a call looks like from outside is as in google.golang.org/grpc, v1.82.1.

Order: a client sends headers and messages and half-closes; a server answers with headers and messages and ends
with trailers, or with trailers alone. Texts are grpc-go's.
"""

from __future__ import annotations

from pybuildkit.rpc._code import Code, RpcError
from pybuildkit.rpc._events import DataReceived, GoAwayReceived, HeadersReceived, StreamReset
from pybuildkit.rpc._frames import ErrorCode, error_name
from pybuildkit.rpc._grpc import (
    CONTENT_TYPE,
    Deframer,
    decode_metadata,
    decode_status,
    decode_timeout,
    encode_metadata,
    encode_timeout,
)
from pybuildkit.rpc._headers import Headers
from pybuildkit.rpc._types import Metadata

DRAINING = "the stream is rejected because server is draining the connection"

_RESET_CODES = {
    ErrorCode.FLOW_CONTROL_ERROR: Code.RESOURCE_EXHAUSTED,
    ErrorCode.REFUSED_STREAM: Code.UNAVAILABLE,
    ErrorCode.CANCEL: Code.CANCELLED,
    ErrorCode.ENHANCE_YOUR_CALM: Code.RESOURCE_EXHAUSTED,
    ErrorCode.INADEQUATE_SECURITY: Code.PERMISSION_DENIED,
}
_HTTP_CODES = {
    400: Code.INTERNAL,
    401: Code.UNAUTHENTICATED,
    403: Code.PERMISSION_DENIED,
    404: Code.UNIMPLEMENTED,
    429: Code.UNAVAILABLE,
    502: Code.UNAVAILABLE,
    503: Code.UNAVAILABLE,
    504: Code.UNAVAILABLE,
}
_BODY_SHOWN = 1024


def request_headers(
    path: str, *, scheme: str, authority: str, user_agent: str, timeout: float | None, metadata: Metadata
) -> list[tuple[bytes, bytes]]:
    """The headers that open a call; `timeout` in seconds.

    Raises:
        RpcError: Internal, for metadata that cannot be sent.
    """
    headers = [
        (b":method", b"POST"),
        (b":scheme", scheme.encode()),
        (b":path", path.encode()),
        (b":authority", authority.encode()),
        CONTENT_TYPE,
        (b"user-agent", user_agent.encode()),
        (b"te", b"trailers"),
    ]
    if timeout is not None:
        headers.append((b"grpc-timeout", encode_timeout(timeout)))
    return headers + encode_metadata(metadata)


def reset_status(event: StreamReset) -> RpcError:
    """The status of a call whose stream was reset."""
    if event.reason is not None:
        return RpcError(_RESET_CODES.get(ErrorCode(event.code), Code.INTERNAL), event.reason)
    if event.unprocessed and event.code != ErrorCode.REFUSED_STREAM:
        return RpcError(Code.UNAVAILABLE, DRAINING)
    known = 0 <= event.code <= 13
    code = _RESET_CODES.get(ErrorCode(event.code), Code.INTERNAL) if known else Code.UNKNOWN
    return RpcError(code, f"stream terminated by RST_STREAM with error code: {error_name(event.code)}")


def goaway_text(event: GoAwayReceived) -> str:
    """A received GOAWAY, for the message of an error."""
    text = f"code: {error_name(event.code)}"
    return f'{text}, debug data: "{event.debug.decode("utf-8", "replace")}"' if event.debug else text


class Response:
    """What a client has received of one call.

    Attributes:
        deframer: cuts the messages; `deframer.messages` are those not yet taken.
        header, trailer: metadata; the header is None until it has come.
        ended: whether the call is over; `error` says how, None for OK.
    """

    def __init__(self, max_size: int) -> None:
        self.deframer = Deframer(max_size)
        self.header: Metadata | None = None
        self.trailer: Metadata = ()
        self.ended = False
        self.error: RpcError | None = None
        self._foreign: RpcError | None = None
        self._body = bytearray()

    @property
    def takes_messages(self) -> bool:
        """Whether received bytes are messages, and not the body of some other server's answer."""
        return self._foreign is None

    def finish(self, error: RpcError | None) -> None:
        """End the call, once; later ends are ignored."""
        if self.ended:
            return
        if error is None and self.deframer.partial:
            error = RpcError(Code.INTERNAL, "unexpected EOF")
        self.ended = True
        self.error = error
        if self.header is None:
            self.header = ()

    def on_headers(self, event: HeadersReceived) -> None:
        """Take the response's head or its trailers.

        Raises:
            RpcError: when the call cannot go on; the stream is then to be reset, with this as the status.
        """
        headers = event.headers
        if self._foreign is not None:
            raise self._foreign_error()
        if self.header is None:
            self._check_head(headers, event.ended)
            if self._foreign is not None:
                return
        if not event.ended:
            self.header = decode_metadata(headers)
            return
        trailer = decode_metadata(headers)
        error = decode_status(headers)
        self.trailer = trailer
        self.finish(error)

    def on_data(self, event: DataReceived) -> None:
        """Take what is left of a DATA frame once `deframer` has its messages; raises as `on_headers`."""
        if self._foreign is not None:
            self._body += event.data[: _BODY_SHOWN - len(self._body)]
            if event.ended or len(self._body) >= _BODY_SHOWN:
                raise self._foreign_error()
            return
        if event.ended:
            raise RpcError(Code.INTERNAL, "server closed the stream without sending trailers")

    def _foreign_error(self) -> RpcError:
        from pybuildkit.golang.strconv import quote

        assert self._foreign is not None
        body = quote(bytes(self._body).decode("utf-8", "replace"))
        return RpcError(self._foreign.code, f"{self._foreign.message}\ndata: {body}")

    def _check_head(self, headers: Headers, ended: bool) -> None:
        """Refuse a response that is not gRPC's; its body is collected for the message, where it has one."""
        status, content_type = b"", None
        for name, value in headers:
            if name == b":status":
                status = value
            elif name == b"content-type":
                content_type = value
        if content_type is not None and is_grpc(content_type):
            return
        error = _not_grpc(status, content_type)
        if ended:
            raise error
        self._foreign = error


def is_grpc(content_type: bytes) -> bool:
    """Whether a content type is gRPC's, with or without a sub-type."""
    return content_type == b"application/grpc" or content_type.startswith((b"application/grpc+", b"application/grpc;"))


def _not_grpc(status: bytes, content_type: bytes | None) -> RpcError:
    from http import HTTPStatus

    if content_type is None:
        problem = "malformed header: missing HTTP content-type"
    else:
        problem = f'transport: received unexpected content-type "{content_type.decode("utf-8", "replace")}"'
    if not status.isdigit() or len(status) > 9:
        text = status.decode("utf-8", "replace")
        parse = f'strconv.Atoi: parsing "{text}": invalid syntax'
        return RpcError(Code.INTERNAL, f"transport: malformed http-status: {parse}")
    number = int(status)
    phrase = HTTPStatus(number).phrase if number in HTTPStatus._value2member_map_ else ""
    text = f"unexpected HTTP status code received from server: {number} ({phrase}); {problem}"
    return RpcError(_HTTP_CODES.get(number, Code.UNKNOWN), text)


class Request:
    """The headers of a request, as a server reads them.

    Attributes:
        path: the method's path.
        metadata: as received.
        timeout: seconds until the client's deadline, or None.
        http_status: what to answer instead of 200 where `error` is set.
        error: why the request cannot be served, or None.
    """

    def __init__(self, headers: Headers) -> None:
        self.path = ""
        self.metadata: Metadata = ()
        self.timeout: float | None = None
        self.http_status = 200
        self.error: RpcError | None = None
        self.encoding = ""
        try:
            self._read(headers)
        except RpcError as err:
            self.http_status, self.error = 400, err

    def _read(self, headers: Headers) -> None:
        method = content_type = b""
        grpc = False
        for name, value in headers:
            if name == b":path":
                self.path = value.decode("utf-8", "replace")
            elif name == b":method":
                method = value
            elif name == b"content-type":
                content_type = value
                grpc = is_grpc(value)
            elif name == b"grpc-timeout":
                self.timeout = decode_timeout(value)
            elif name == b"grpc-encoding":
                self.encoding = value.decode("utf-8", "replace")
        self.metadata = decode_metadata(headers)
        if not grpc:
            text = f'invalid gRPC request content-type "{content_type.decode("utf-8", "replace")}"'
            self.http_status, self.error = 415, RpcError(Code.INVALID_ARGUMENT, text)
        elif method != b"POST":
            text = f'Received a HEADERS frame with :method "{method.decode("utf-8", "replace")}" which should be POST'
            self.http_status, self.error = 405, RpcError(Code.INTERNAL, text)
        elif self.encoding not in ("", "identity"):
            text = f'grpc: Decompressor is not installed for grpc-encoding "{self.encoding}"'
            self.error = RpcError(Code.UNIMPLEMENTED, text)


def unknown_method(path: str, known: set[str]) -> RpcError:
    """The status for a path that no handler serves; `known` are the services that have handlers."""
    service, slash, name = path.removeprefix("/").rpartition("/")
    if not path.startswith("/") or not slash:
        return RpcError(Code.UNIMPLEMENTED, f'malformed method name: "{path}"')
    if service in known:
        return RpcError(Code.UNIMPLEMENTED, f"unknown method {name} for service {service}")
    return RpcError(Code.UNIMPLEMENTED, f"unknown service {service}")
