"""What a content store is. Mirrors core/content of github.com/containerd/containerd, v2.3.3, and
opencontainers/go-digest, v1.0.0.

Every call blocks and is safe from any thread, a writer's from one thread at a time. Times are nanoseconds since the
epoch.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from pybuildkit.third_party.containerd.errdefs import InvalidArgumentError

ALGORITHMS = {"sha256": 64, "sha384": 96, "sha512": 128}
"""The algorithms of digests and the number of hexadecimal digits of each."""

_DIGEST = re.compile(r"[a-z0-9]+(?:[.+_-][a-z0-9]+)*:[a-zA-Z0-9=_-]+")


def digest_of(data: bytes) -> str:
    """The sha256 digest of data, "sha256:…"."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def check_digest(digest: str) -> tuple[str, str]:
    """The algorithm and the digits of a digest.

    Raises:
        InvalidArgumentError: it is none, or of an algorithm that is not known.
    """
    algorithm, _, digits = digest.partition(":")
    if not algorithm or not digits:
        raise InvalidArgumentError("invalid checksum digest format")
    if algorithm not in ALGORITHMS:
        is_digest = _DIGEST.fullmatch(digest)
        raise InvalidArgumentError("unsupported digest algorithm" if is_digest else "invalid checksum digest format")
    if len(digits) != ALGORITHMS[algorithm]:
        raise InvalidArgumentError("invalid checksum digest length")
    if not re.fullmatch("[a-f0-9]+", digits):
        raise InvalidArgumentError("invalid checksum digest format")
    return algorithm, digits


@dataclass(frozen=True, kw_only=True)
class Info:
    """A blob: its digest, its size in bytes, when it came and when it was last used or changed, its labels."""

    digest: str
    size: int = 0
    created_at: int = 0
    updated_at: int = 0
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Status:
    """An ingest: the name it was begun with, bytes that are there, bytes expected (0: not known), its times."""

    ref: str
    offset: int = 0
    total: int = 0
    expected: str = ""
    started_at: int = 0
    updated_at: int = 0


class ReaderAt(Protocol):
    """An open blob."""

    @property
    def size(self) -> int: ...

    def read_at(self, n: int, offset: int) -> bytes:
        """At most `n` bytes from the offset on; b"" at the end."""

    def close(self) -> None: ...


class Writer(Protocol):
    """An ingest that is being written; one writer at a time for each name."""

    def write(self, data: bytes) -> int:
        """Append all of the data; how many bytes that were."""

    def commit(self, size: int = 0, expected: str = "", labels: Mapping[str, str] | None = None) -> None:
        """Make a blob of what was written, and close the writer in any case.

        Args:
            size: the bytes that it must have; 0 for any number.
            expected: the digest that it must have; empty for any.
            labels: labels for the blob, where the store keeps some.
        """

    def status(self) -> Status: ...

    def digest(self) -> str:
        """The digest of what was written so far."""

    def truncate(self, size: int) -> None:
        """Begin again; only size 0."""

    def close(self) -> None:
        """Leave the ingest as it is, for a later writer to resume."""


class Store(Protocol):
    """Blobs by digest, and ingests by name."""

    def info(self, digest: str) -> Info:
        """What is known of a blob; raises NotFoundError, InvalidArgumentError."""

    def update(self, info: Info, fieldpaths: Sequence[str] = ()) -> Info:
        """Change a blob's labels; raises FailedPreconditionError where the store keeps none."""

    def walk(self, filters: Sequence[str] = ()) -> Iterator[Info]:
        """Every blob that matches one of the filters, or every blob."""

    def delete(self, digest: str) -> None:
        """Remove a blob; one that is not there is no error."""

    def open(self, digest: str) -> ReaderAt:
        """A blob's content; raises NotFoundError."""

    def read_blob(self, digest: str) -> bytes:
        """A blob's whole content, for small ones; raises NotFoundError."""

    def status(self, ref: str) -> Status:
        """What is known of an ingest; raises NotFoundError."""

    def list_statuses(self, filters: Sequence[str] = ()) -> list[Status]:
        """Every ingest that matches one of the filters, or every ingest."""

    def abort(self, ref: str) -> None:
        """Remove an ingest; one that is not there is no error."""

    def writer(self, ref: str, total: int = 0, expected: str = "") -> Writer:
        """Begin or resume an ingest.

        Args:
            ref: its name.
            total: bytes that are expected, 0 where that is not known.
            expected: the digest that is expected, or empty.

        Raises:
            AlreadyExistsError: there is a blob with the expected digest.
            UnavailableError: the ingest has a writer already.
        """
