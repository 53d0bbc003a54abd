"""Files from web servers, and the options that all sources of a single file take.

Mirrors HTTP and its options in client/llb/source.go, v0.32.2.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ParamSpec, Protocol

from pybuildkit.client.llb._constraints import Constraints, add_cap
from pybuildkit.client.llb._option import Option, apply_options, maker
from pybuildkit.client.llb._source import FileInfo, FileInfoChange, SourceOp
from pybuildkit.client.llb._state import State, new_state
from pybuildkit.solver import pb

if TYPE_CHECKING:
    from pybuildkit.client.llb._image import ImageBlobInfo

_P = ParamSpec("_P")


@dataclass(frozen=True, kw_only=True, slots=True)
class HTTPHeader:
    """Headers of the request."""

    accept: str = ""
    user_agent: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class HTTPSignatureInfo:
    """A detached OpenPGP signature of the file, and the key to check it with, both armored."""

    pub_key: bytes = b""
    signature: bytes = b""


class HTTPInfo:
    """What the options of one `http` have said."""

    __slots__ = ("auth_header_secret", "checksum", "constraints", "file", "header", "signature")

    def __init__(self) -> None:
        self.constraints = Constraints()
        self.file = FileInfo()
        self.checksum = ""
        self.auth_header_secret = ""
        self.header: HTTPHeader | None = None
        self.signature: HTTPSignatureInfo | None = None


_Change = Callable[[HTTPInfo], None]


class HTTPOption(Protocol):
    """What `http` takes."""

    def set_http_option(self, info: HTTPInfo) -> None:
        """Change the options of one `http`."""


class _HTTPOption(Option[HTTPInfo]):
    __slots__ = ()

    def set_http_option(self, info: HTTPInfo) -> None:
        """Change the options of one `http`."""
        self._apply(info)


class FileInfoOption(Option[FileInfo]):
    """An option of `http`, `image_blob` and `oci_layout_blob`."""

    __slots__ = ()

    def set_http_option(self, info: HTTPInfo) -> None:
        """Change the options of one `http`."""
        self._apply(info.file)

    def set_image_blob_option(self, info: ImageBlobInfo) -> None:
        """Change the options of one `image_blob`."""
        self._apply(info.file)


def _http(make: Callable[_P, _Change]) -> Callable[_P, _HTTPOption]:
    return maker(_HTTPOption, make)


def _file(make: Callable[_P, FileInfoChange]) -> Callable[_P, FileInfoOption]:
    return maker(FileInfoOption, make)


def http(url: str, *options: HTTPOption) -> State:
    """A tree with a single file, fetched from a web server."""
    info = HTTPInfo()
    apply_options(options, "set_http_option", info, "http")
    attrs: dict[str, str] = {}
    if info.checksum:
        attrs[pb.ATTR_HTTP_CHECKSUM] = info.checksum
        add_cap(info.constraints, pb.CAP_SOURCE_HTTP_CHECKSUM)
    file_attrs(info.file, attrs)
    if info.file.perm:
        add_cap(info.constraints, pb.CAP_SOURCE_HTTP_PERM)
    if info.file.uid or info.file.gid:
        add_cap(info.constraints, pb.CAP_SOURCE_HTTP_UID_GID)
    if info.auth_header_secret:
        attrs[pb.ATTR_HTTP_AUTH_HEADER_SECRET] = info.auth_header_secret
        add_cap(info.constraints, pb.CAP_SOURCE_HTTP_AUTH)
    if info.header is not None:
        _header_attrs(info.header, attrs)
        add_cap(info.constraints, pb.CAP_SOURCE_HTTP_HEADER)
    if info.signature is not None:
        _signature_attrs(info.signature, attrs)
        add_cap(info.constraints, pb.CAP_SOURCE_HTTP_SIGNATURE_VERIFY)
    add_cap(info.constraints, pb.CAP_SOURCE_HTTP)
    return new_state(SourceOp(url, attrs, info.constraints).output())


def file_attrs(file: FileInfo, attrs: dict[str, str]) -> None:
    """Put what is said about the file into a source's attributes."""
    if file.filename:
        attrs[pb.ATTR_HTTP_FILENAME] = file.filename
    if file.perm:
        attrs[pb.ATTR_HTTP_PERM] = f"0{file.perm:o}"
    if file.uid:
        attrs[pb.ATTR_HTTP_UID] = str(file.uid)
    if file.gid:
        attrs[pb.ATTR_HTTP_GID] = str(file.gid)


def _header_attrs(header: HTTPHeader, attrs: dict[str, str]) -> None:
    if header.accept:
        attrs[pb.ATTR_HTTP_HEADER_PREFIX + "accept"] = header.accept
    if header.user_agent:
        attrs[pb.ATTR_HTTP_HEADER_PREFIX + "user-agent"] = header.user_agent


def _signature_attrs(signature: HTTPSignatureInfo, attrs: dict[str, str]) -> None:
    if signature.pub_key:
        attrs[pb.ATTR_HTTP_SIGNATURE_VERIFY_PUB_KEY] = signature.pub_key.decode()
    if signature.signature:
        attrs[pb.ATTR_HTTP_SIGNATURE_VERIFY] = signature.signature.decode()


@_http
def checksum(digest: str) -> _Change:
    """The digest that the file must have."""

    def change(info: HTTPInfo) -> None:
        info.checksum = digest

    return change


@_http
def header(header: HTTPHeader) -> _Change:
    """Headers of the request."""

    def change(info: HTTPInfo) -> None:
        info.header = header

    return change


@_http
def verify_pgp_signature(info: HTTPSignatureInfo) -> _Change:
    """Take the file only with a good signature."""

    def change(http_info: HTTPInfo) -> None:
        http_info.signature = info

    return change


@_file
def chmod(perm: int) -> FileInfoChange:
    """The file's permissions, such as 0o644."""

    def change(info: FileInfo) -> None:
        info.perm = perm & 0o777

    return change


@_file
def filename(name: str) -> FileInfoChange:
    """The file's name."""

    def change(info: FileInfo) -> None:
        info.filename = name

    return change


@_file
def chown(uid: int, gid: int) -> FileInfoChange:
    """The file's owner."""

    def change(info: FileInfo) -> None:
        info.uid, info.gid = uid, gid

    return change
