"""Sources of a single file: its name, mode and owner, and the tree that it makes.

Mirrors what source/http and source/containerblob share, and source/util/pathutil, v0.32.2.
"""

from __future__ import annotations

import json
import stat as st
from collections.abc import Mapping
from dataclasses import dataclass

from fake_buildkitd.image._spec import digest_of
from fake_buildkitd.store import Node, Store, empty_root
from pybuildkit.golang.strconv import parse_int
from pybuildkit.solver import pb

MAX_BYTES = 64 << 30
"""The most bytes of one file that is fetched: what never ends must not fill the disk."""

_DEFAULT_MODE = 0o600
_DEFAULT_NAME = "download"
_SPACE = " \t\n\v\f\r\x85\xa0"


@dataclass(frozen=True, kw_only=True)
class FileOptions:
    """What a source's attributes say of the file; no name and the mode 0 leave them to the source."""

    name: str = ""
    perm: int = 0
    uid: int = 0
    gid: int = 0

    @classmethod
    def read(cls, attrs: Mapping[str, str]) -> FileOptions:
        """The options in a source's attributes.

        Raises:
            NumError: a mode or owner that is no number.
        """

        def number(key: str) -> int:
            return parse_int(attrs[key], 0, 64) if key in attrs else 0

        return cls(
            name=attrs.get(pb.ATTR_HTTP_FILENAME, ""),
            perm=number(pb.ATTR_HTTP_PERM),
            uid=number(pb.ATTR_HTTP_UID),
            gid=number(pb.ATTR_HTTP_GID),
        )

    def root(self, name: str, blob: bytes, size: int, mtime: int = 0) -> Node:
        """The tree with the file.

        Args:
            blob: the content, by its name in the store.
            mtime: nanoseconds.
        """
        mode = st.S_IFREG | ((self.perm or _DEFAULT_MODE) & 0o777)
        root = empty_root()
        assert root.children is not None
        file = Node(mode, uid=self.uid & 0xFFFFFFFF, gid=self.gid & 0xFFFFFFFF, mtime=mtime, size=size, blob=blob)
        root.children[name.encode("utf-8", "surrogateescape")] = file
        return root


def safe_file_name(text: str) -> str:
    """The last part of a path as the name of a file, `download` where it can be none."""
    name = text.strip(_SPACE).rstrip("/").rpartition("/")[2]
    if name in ("", ".", "..") or any(ord(char) < 0x20 or 0x7F <= ord(char) < 0xA0 for char in name):
        return _DEFAULT_NAME
    return name


def cache_key(kind: str, *parts: object) -> str:
    """The name under which the store keeps a file that was fetched."""
    return f"{kind}:{digest_of(json.dumps(parts).encode())}"


def content_digest(store: Store, blob: bytes) -> str:
    """The digest of a content that the store has."""
    return f"sha256:{blob.hex()}" if blob else digest_of(b"")
