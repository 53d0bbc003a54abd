"""Runs the golden cases of area `fsutil`: walks with filters, patterns, and whole transfers packet by packet."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
import socket
import stat as unix
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pybuildkit.golang.context import background
from pybuildkit.golang.errors import error_text
from pybuildkit.third_party import fsutil, patternmatcher
from pybuildkit.third_party.fsutil._packet import DATA, decode_packet
from tests.third_party.fsutil.streams import Recorder, pair

MTIME = 1700000000123456789


def run(cases: list[dict[str, Any]], work: Path) -> Iterator[tuple[str, str | None]]:
    """Each case's name, and what is wrong with it or None."""
    for number, case in enumerate(cases):
        folder = work / f"case{number}"
        folder.mkdir()
        yield case["name"], _GROUPS.get(case["group"], _walk)(case, folder)


def _patterns(case: dict[str, Any], folder: Path) -> str | None:
    wanted_error = case["error"]
    try:
        matcher = patternmatcher.new(case["patterns"])
        got = [{"match": matcher.matches_or_parent_matches(path), "path": path} for path in case["paths"]]
    except Exception as err:
        return None if error_text(err) == wanted_error else f"error {error_text(err)!r}, not {wanted_error!r}"
    if wanted_error is not None:
        return f"no error, not {wanted_error!r}"
    wrong = [(w, g) for w, g in zip(case["matches"], got, strict=True) if w != g]
    return f"{wrong}" if wrong else None


def _walk(case: dict[str, Any], folder: Path) -> str | None:
    source = folder / "src"
    source.mkdir()
    make_tree(source, case.get("tree") or [])

    def reset(path: bytes, stat: fsutil.Stat) -> fsutil.MapResult:
        stat.uid = stat.gid = 0
        return fsutil.MapResult.KEEP

    try:
        fs = fsutil.new_filter_fs(
            fsutil.new_fs(str(source / case.get("root", ""))),
            fsutil.FilterOpt(
                include_patterns=case.get("include_patterns") or [],
                exclude_patterns=case.get("exclude_patterns") or [],
                follow_paths=case.get("follow_paths") or [],
                map=reset if case.get("reset_uid_gid") else None,
            ),
        )
        got = [_stat_json(entry.stat()) for entry in fsutil.with_hardlink_reset(fs).walk(b"")]
    except Exception as err:
        text = error_text(err).replace(str(folder), "/tmp/w/fs")
        return None if text == case["error"] else f"error {text!r}, not {case['error']!r}"
    if case["error"] is not None:
        return f"no error, not {case['error']!r}"
    return None if got == case["stats"] else f"stats {got}, not {case['stats']}"


def _stat_json(stat: fsutil.Stat) -> dict[str, Any]:
    out: dict[str, Any] = {
        "devmajor": stat.devmajor,
        "devminor": stat.devminor,
        "gid": stat.gid,
        "linkname": os.fsdecode(stat.linkname),
        "mode": stat.mode,
        "mtime_ns": stat.mod_time,
        "path": os.fsdecode(stat.path),
        "size": stat.size,
        "uid": stat.uid,
    }
    if stat.xattrs:
        out["xattrs_base64"] = {key: base64.b64encode(value).decode() for key, value in stat.xattrs.items()}
    return out


def _sync(case: dict[str, Any], folder: Path) -> str | None:
    source, dest = folder / "src", folder / "dest"
    source.mkdir()
    dest.mkdir()
    make_tree(source, case["tree"])
    make_tree(dest, case.get("dest_tree") or [])
    near, far = pair()
    sender, receiver = Recorder(near), Recorder(far)

    async def transfer() -> None:
        await asyncio.gather(
            fsutil.send(background(), sender, fsutil.new_fs(str(source))),
            fsutil.receive(
                background(), receiver, str(dest), fsutil.ReceiveOpt(merge=case.get("merge", False), special_files=True)
            ),
        )

    asyncio.run(transfer())
    for side, recorder in (("sender", sender), ("receiver", receiver)):
        wanted = _joined([bytes.fromhex(packet["hex"]) for packet in case[f"{side}_packets"]])
        if _joined(recorder.sent) != wanted:
            return f"{side} packets {_joined(recorder.sent)}, not {wanted}"
    after = tree_json(dest)
    return None if after == case["dest_after"] else f"tree {after}, not {case['dest_after']}"


def _joined(packets: list[bytes]) -> tuple[list[bytes], dict[int, bytes]]:
    """Everything but content in order, and the content of each id."""
    order: list[bytes] = []
    content: dict[int, bytes] = {}
    for raw in packets:
        packet = decode_packet(raw)
        if packet.type == DATA and packet.data:
            content[packet.id] = content.get(packet.id, b"") + bytes(packet.data)
        else:
            order.append(raw)
    return order, content


def tree_json(root: Path) -> list[dict[str, Any]]:
    """What is in a directory, as the cases tell it."""
    out = []
    for entry in fsutil.new_fs(str(root)).walk(b""):
        stat = entry.stat()
        path = root / os.fsdecode(stat.path)
        item: dict[str, Any] = {
            "gid": stat.gid,
            "mode": stat.mode,
            "mtime_ns": stat.mod_time,
            "path": os.fsdecode(stat.path),
            "uid": stat.uid,
        }
        if not stat.is_dir():
            item["nlink"] = stat.nlink
        if not stat.mode & fsutil.MODE_TYPE:
            item["size"] = stat.size
            item["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
        if stat.mode & fsutil.MODE_SYMLINK:
            item["linkname"] = os.fsdecode(stat.linkname)
        out.append(item)
    return out


def make_tree(root: Path, tree: list[dict[str, Any]]) -> None:
    """Make a case's tree; times of directories come last."""
    times: list[tuple[Path, int]] = [(root, MTIME)]
    for item in tree:
        path = root / item["path"]
        missing = [parent for parent in path.parents if not parent.exists()]
        for parent in reversed(missing):
            parent.mkdir()
            parent.chmod(0o755)
            times.append((parent, MTIME))
        _make(root, path, item)
        if item["type"] != "hardlink":
            os.chown(path, item.get("uid", 0), item.get("gid", 0), follow_symlinks=False)
        if item["type"] not in ("symlink", "hardlink"):
            path.chmod(item.get("mode", 0o755 if item["type"] == "dir" else 0o644))
        times.append((path, item.get("mtime_ns", MTIME)))
    for path, time in reversed(times):
        os.utime(path, ns=(time, time), follow_symlinks=False)


def _make(root: Path, path: Path, item: dict[str, Any]) -> None:
    kind = item["type"]
    if kind == "file":
        seed = item["seed"]
        path.write_bytes(bytes((seed * 31 + index * 7) % 256 for index in range(item.get("size", 0))))
        for key, value in item.get("xattrs", {}).items():
            os.setxattr(path, key, value.encode())
    elif kind == "dir":
        path.mkdir()
    elif kind == "symlink":
        path.symlink_to(item["target"])
    elif kind == "hardlink":
        path.hardlink_to(root / item["target"])
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as sock:
            sock.bind(str(path))
    else:
        bits = {"fifo": unix.S_IFIFO, "char": unix.S_IFCHR, "block": unix.S_IFBLK}[kind]
        os.mknod(path, bits | 0o644, os.makedev(item.get("major", 0), item.get("minor", 0)))


_GROUPS = {"patternmatcher": _patterns, "sync": _sync}
