"""The stored form of a directory.

A directory is stored as the concatenation of its entries in byte order of their names, under the SHA-256 digest of
that text; an entry of a subdirectory holds the subdirectory's digest, so equal directories are stored once. Each
entry is a fixed header, then name, blob or directory digest, link target and extended attributes.
"""

from __future__ import annotations

import hashlib
import stat as st
import struct
from collections.abc import Callable

from fake_buildkitd.store._tree import Node, Xattrs

_ENTRY = struct.Struct("<IIIqQIIQHBHI")
_XATTR = struct.Struct("<HI")


def encode_entry(name: bytes, node: Node, reference: bytes) -> bytes:
    """One entry; `reference` is the blob's or directory's digest."""
    xattrs = b"".join(_XATTR.pack(len(k.encode()), len(v)) + k.encode() + v for k, v in node.xattrs)
    head = _ENTRY.pack(
        node.mode,
        node.uid,
        node.gid,
        node.mtime,
        node.size,
        node.major,
        node.minor,
        node.inode,
        len(name),
        len(reference),
        len(node.link),
        len(xattrs),
    )
    return head + name + reference + node.link + xattrs


def encode_dir(node: Node, save: Callable[[bytes, bytes], None]) -> bytes:
    """The digest of a directory, after `save(digest, text)` was called for each directory not stored before."""
    if node.stored is not None:
        return node.stored
    assert node.children is not None
    parts = []
    for name in sorted(node.children):
        child = node.children[name]
        reference = encode_dir(child, save) if child.children is not None else child.blob
        parts.append(encode_entry(name, child, reference))
    text = b"".join(parts)
    digest = hashlib.sha256(text).digest()
    save(digest, text)
    node.stored = digest
    return digest


def decode_dir(text: bytes, load: Callable[[bytes], bytes]) -> dict[bytes, Node]:
    """The entries of a stored directory; `load(digest)` gives the text of another one."""
    children: dict[bytes, Node] = {}
    position = 0
    while position < len(text):
        fields = _ENTRY.unpack_from(text, position)
        mode, uid, gid, mtime, size, major, minor, inode, name_size, ref_size, link_size, xattr_size = fields
        position += _ENTRY.size
        name = text[position : position + name_size]
        position += name_size
        reference = text[position : position + ref_size]
        position += ref_size
        node = Node(mode, uid=uid, gid=gid, mtime=mtime, size=size, major=major, minor=minor, inode=inode)
        node.link = text[position : position + link_size]
        position += link_size
        if xattr_size:
            node.xattrs = _decode_xattrs(text[position : position + xattr_size])
            position += xattr_size
        if st.S_ISDIR(mode):
            node.children = decode_dir(load(reference), load)
            node.stored = reference
        else:
            node.blob = reference
        children[name] = node
    return children


def _decode_xattrs(text: bytes) -> Xattrs:
    xattrs: list[tuple[str, bytes]] = []
    position = 0
    while position < len(text):
        key_size, value_size = _XATTR.unpack_from(text, position)
        position += _XATTR.size
        key = text[position : position + key_size].decode()
        position += key_size
        xattrs.append((key, text[position : position + value_size]))
        position += value_size
    return tuple(xattrs)
