"""Zstandard, with the package `zstandard` that the extra `zstd` installs.

Mirrors util/compression/zstd.go, v0.32.2.

Differs on purpose: levels are the library's own, 1 to 22, where BuildKit's encoder has four.
"""

from __future__ import annotations

import tarfile
from typing import BinaryIO, Protocol

from fake_buildkitd.errors import UnsupportedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType

MAGIC = b"\x28\xb5\x2f\xfd"
_LEVELS = (1, 22)
_DEFAULT_LEVEL = 3


class Packer(Protocol):
    """Compresses a stream."""

    def compress(self, data: bytes, /) -> bytes: ...

    def flush(self) -> bytes: ...


def _module() -> ModuleType:
    try:
        import zstandard
    except ImportError as err:
        text = "zstd needs the Python package zstandard, which is not installed (pip install 'pybuildkit[zstd]')"
        raise UnsupportedError(text) from err
    return zstandard


def check() -> None:
    """Make sure that Zstandard is there.

    Raises:
        UnsupportedError: names the missing package.
    """
    _module()


def packer(level: int | None) -> Packer:
    """A compressor; None for the usual level.

    Raises:
        UnsupportedError: names the missing package.
    """
    low, high = _LEVELS
    number = _DEFAULT_LEVEL if level is None else max(low, min(level, high))
    made: Packer = _module().ZstdCompressor(level=number).compressobj()
    return made


class ZstdReader:
    """A compressed stream, uncompressed; it can be read forward only.

    Raises:
        UnsupportedError: names the missing package.
    """

    def __init__(self, stream: BinaryIO) -> None:
        module = _module()
        self._error: type[Exception] = module.ZstdError
        self._stream = module.ZstdDecompressor().stream_reader(stream, read_across_frames=True, closefd=False)

    def read(self, n: int = -1) -> bytes:
        """The next bytes.

        Raises:
            tarfile.ReadError: the stream is broken.
        """
        try:
            data: bytes = self._stream.read(n)
        except self._error as err:
            raise tarfile.ReadError(str(err)) from err
        return data

    def tell(self) -> int:
        """How many bytes were read."""
        position: int = self._stream.tell()
        return position

    def seek(self, position: int) -> int:
        """Go on to a later place."""
        while self.tell() < position and self.read(min(1 << 20, position - self.tell())):
            pass
        return self.tell()
