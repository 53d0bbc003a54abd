"""Random directories on disk, random filters, and a simple model of what a filter leaves of a directory.

The model shares no code with `pybuildkit.third_party`: patterns are matched component by component, trees are read
back with `os` alone.
"""

from __future__ import annotations

import hashlib
import os
import random
import socket
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

from hypothesis import strategies as st

ROOT = os.geteuid() == 0
LIMITS = [4096, 64 << 10, 256 << 10, 512 << 10]
"""Where our sender and receiver change what they do: a block, a small file, a packet, a batch."""


@dataclass(frozen=True)
class Node:
    """An entry. `use` tells a hard link ("hard") which earlier file it is, and a device its minor number."""

    kind: str
    mode: int = 0o644
    time: int = 0
    size: int = 0
    use: int = 0
    hole: bool = False
    target: bytes = b""
    xattrs: tuple[str, ...] = ()
    owner: int = 0


Tree = Mapping[bytes, Node]
"""Entries by path, parents before what is in them."""


@dataclass(frozen=True)
class Seen:
    """What there is to see of an entry; `first` is the first name of the same file."""

    kind: str
    mode: int
    time: int
    content: bytes = b""
    target: bytes = b""
    device: int = 0
    xattrs: tuple[tuple[str, bytes], ...] = ()
    owner: int = 0
    first: bytes = b""
    sparse: bool = False


@dataclass(frozen=True)
class Filters:
    """As FilterOpt; `change` names a map function: "", "owner", "drop", "skip"."""

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    follow: tuple[str, ...] = ()
    change: str = ""


def walk_order(path: bytes) -> bytes:
    """A path's place in a walk."""
    return path.replace(b"/", b"\0")


def content(node: Node, path: bytes) -> bytes:
    """What is in a file: bytes that differ from file to file, with a run of zeros where it has a hole."""
    if node.kind != "file":
        return b""
    data = random.Random(path).randbytes(node.size)
    if node.hole:
        data = data[:5000] + bytes(max(0, node.size - 10_000)) + data[max(5000, node.size - 5000) :]
    return data


def make(root: bytes, tree: Tree) -> None:
    """Make a directory; the times of directories come last."""
    files: list[bytes] = []
    for path, node in tree.items():
        full = root + b"/" + path
        if node.kind == "dir":
            os.mkdir(full)
        elif node.kind == "link":
            os.symlink(node.target, full)
        elif node.kind == "fifo":
            os.mkfifo(full)
        elif node.kind == "device":
            os.mknod(full, stat.S_IFCHR | 0o600, os.makedev(1, node.use))
        elif node.kind == "socket":
            _make_socket(full)
        elif node.kind == "hard":
            os.link(files[node.use % len(files)], full)
            continue
        else:
            _write(full, content(node, path))
            files.append(full)
        for name in node.xattrs:
            os.setxattr(full, name, path[:4])
        if ROOT:
            os.chown(full, node.owner, node.owner, follow_symlinks=False)
        if node.kind != "link":
            os.chmod(full, node.mode)
        os.utime(full, ns=(node.time, node.time), follow_symlinks=False)
    for path, node in reversed(list(tree.items())):
        if node.kind == "dir":
            os.utime(root + b"/" + path, ns=(node.time, node.time))


def _make_socket(path: bytes) -> None:
    """A socket; its address is short where its name may be long."""
    folder, _, name = path.rpartition(b"/")
    here = os.open(folder, os.O_DIRECTORY)
    try:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.bind(b"/proc/self/fd/%d/.s" % here)
        os.rename(b".s", name, src_dir_fd=here, dst_dir_fd=here)
    finally:
        os.close(here)


def _write(path: bytes, data: bytes) -> None:
    """Write a file and leave out its blocks of zeros."""
    with open(path, "wb") as file:
        for start in range(0, len(data), 4096):
            block = data[start : start + 4096]
            if any(block):
                file.seek(start)
                file.write(block)
        file.truncate(len(data))


def sources(tree: Tree) -> dict[bytes, bytes]:
    """The name under which each file was made; hard links have another's."""
    files: list[bytes] = []
    out: dict[bytes, bytes] = {}
    for path, node in tree.items():
        if node.kind == "file":
            files.append(path)
            out[path] = path
        elif node.kind == "hard":
            out[path] = files[node.use % len(files)]
    return out


def expected(tree: Tree, names: Iterable[bytes], owner: int | None = None) -> dict[bytes, Seen]:
    """What the entries of those names look like; a socket arrives as an empty file."""
    source = sources(tree)
    first: dict[bytes, bytes] = {}
    out: dict[bytes, Seen] = {}
    for path in sorted(names, key=walk_order):
        origin = source.get(path, path)
        node = tree[origin]
        is_file = node.kind in ("file", "socket")
        out[path] = Seen(
            kind="file" if is_file else node.kind,
            mode=0o777 if node.kind == "link" else node.mode,
            time=node.time,
            content=hashlib.sha256(content(node, origin)).digest() if is_file else b"",
            target=node.target,
            device=os.makedev(1, node.use) if node.kind == "device" else 0,
            xattrs=tuple((name, origin[:4]) for name in sorted(node.xattrs)),
            owner=(node.owner if owner is None else owner) if ROOT else os.geteuid(),
            first=first.setdefault(origin, path) if is_file else b"",
            sparse=node.hole and is_file,
        )
    return out


_KINDS = {
    stat.S_IFDIR: "dir",
    stat.S_IFREG: "file",
    stat.S_IFLNK: "link",
    stat.S_IFIFO: "fifo",
    stat.S_IFCHR: "device",
    stat.S_IFSOCK: "socket",
}


def observe(root: bytes) -> dict[bytes, Seen]:
    """What is below a directory."""
    out: dict[bytes, Seen] = {}
    first: dict[tuple[int, int], bytes] = {}
    paths = [
        os.path.join(folder, name)[len(root) + 1 :]
        for folder, folders, files in os.walk(root)
        for name in folders + files
    ]
    for path in sorted(paths, key=walk_order):
        full = root + b"/" + path
        info = os.lstat(full)
        kind = _KINDS[stat.S_IFMT(info.st_mode)]
        seen = Seen(kind, stat.S_IMODE(info.st_mode), info.st_mtime_ns, owner=info.st_uid)
        if kind == "file":
            with open(full, "rb") as file:
                digest = hashlib.sha256(file.read()).digest()
            leader = first.setdefault((info.st_dev, info.st_ino), path)
            sparse = info.st_size >= 1 << 20 and info.st_blocks * 512 < info.st_size // 2
            seen = replace(seen, content=digest, first=leader, sparse=sparse)
        if kind in ("file", "dir"):
            names = [str(name) for name in os.listxattr(full) if name.startswith(("user.", "trusted.test"))]
            seen = replace(seen, xattrs=tuple((name, os.getxattr(full, name)) for name in sorted(names)))
        if kind == "link":
            seen = replace(seen, target=os.readlink(full))
        if kind == "device":
            seen = replace(seen, device=info.st_rdev)
        out[path] = seen
    return out


# The model of filters


def _matches(pattern: list[str], path: list[str], first: bool = True) -> bool:
    """Whether a pattern means a path.

    "**" stands for any number of components, at the end for one at least; between others, as in Go, for none that has
    the end of a line in it.
    """
    if not pattern or not path:
        return not pattern and not path
    if pattern[0] != "**":
        return _one(pattern[0], path[0]) and _matches(pattern[1:], path[1:], False)
    if len(pattern) == 1:
        return True
    taken = [n for n in range(len(path)) if first or "\n" not in "".join(path[:n])]
    return any(_matches(pattern[1:], path[n:], False) for n in taken)


def _one(pattern: str, name: str) -> bool:
    return pattern.replace("\\\\", "\\") == name or (
        "\\" not in pattern and fnmatchcase(name, pattern.replace("[^", "[!"))
    )


def _decide(patterns: tuple[str, ...], path: str, above: list[bool]) -> tuple[bool, list[bool]]:
    """Whether the last pattern that means a path, or a directory above it, is one without "!"; for each pattern
    whether it did. A pattern that could change nothing is not looked at, which counts further down."""
    matched, did = False, []
    for number, pattern in enumerate(patterns):
        negative = pattern.startswith("!")
        hit = bool(above) and above[number]
        if not hit and negative == matched:
            hit = _matches(pattern.removeprefix("!").split("/"), path.split("/"))
        did.append(hit)
        if hit:
            matched = not negative
    return matched, did


def _shortened(patterns: list[str]) -> tuple[str, ...]:
    out: list[str] = []
    for pattern in patterns:
        if not out or not pattern.startswith(out[-1] + "/"):
            out.append(pattern)
    return tuple(out)


def followed(tree: Tree, paths: Iterable[str]) -> list[str] | None:
    """The paths, and all links that lie on the way to what they mean; None where that is the whole tree.

    As in Go, a link is followed once: a second path through it leads nowhere.
    """
    links = {os.fsdecode(path): os.fsdecode(node.target) for path, node in tree.items() if node.kind == "link"}
    found: set[str] = set()
    waiting = [*paths][::-1]
    while waiting:
        path = waiting.pop()
        parts = [part for part in os.path.normpath("/" + path).split("/") if part]
        here = "."
        for index, part in enumerate(parts):
            here = "/".join(parts[: index + 1])
            above = here.rpartition("/")[0]
            wild = any(letter in part for letter in "*?[")
            there = [
                (link, target)
                for link, target in links.items()
                if link == here or (wild and link.rpartition("/")[0] == above and _one(part, link.rpartition("/")[2]))
            ]
            if there:
                if here not in found:
                    rest = "/".join(["", *parts[index + 1 :]])
                    for link, target in reversed(there):
                        base = "" if target.startswith("/") else link.rpartition("/")[0] + "/"
                        waiting.append(os.path.normpath("/" + base + target) + rest)
                break
        found.add(here)
    return None if "." in found else sorted(found, key=os.fsencode)


def shown(tree: Tree, filters: Filters) -> set[bytes]:
    """The names that a filter leaves."""
    include = filters.include
    if filters.follow:
        targets = followed(tree, filters.follow)
        if targets is not None:
            include = _shortened([*include, *targets])
    out: set[bytes] = set()
    seen: dict[bytes, tuple[list[bool], list[bool]]] = {}
    skipped: set[bytes] = set()
    for path in sorted(tree, key=walk_order):
        name, parent = os.fsdecode(path), path.rpartition(b"/")[0]
        above = seen.get(parent, ([], []))
        included, did = _decide(include, name, above[0])
        excluded, didnt = _decide(filters.exclude, name, above[1])
        seen[path] = (did, didnt)
        if (include and not included) or excluded or parent in skipped:
            if parent in skipped:
                skipped.add(path)
            continue
        if dropped(filters.change, path, tree[path].kind == "dir"):
            skipped.add(path)
            continue
        parts = path.split(b"/")
        for depth in range(1, len(parts) + 1):
            here = b"/".join(parts[:depth])
            if dropped(filters.change, here, tree[here].kind == "dir"):
                break
            out.add(here)
    return out


def dropped(change: str, path: bytes, is_dir: bool) -> bool:
    """What the map functions leave out: "drop" other entries called "b", "skip" directories of that name."""
    return path.rpartition(b"/")[2] == b"b" and ((change == "drop" and not is_dir) or (change == "skip" and is_dir))


# Strategies

PLAIN = [b"a", b"b", b"c", b"a.b", b"c d"]
_ODD = [b"\xff", b"new\nline", b"*", b"b\\s", "ü".encode(), b"x" * 255, b" a", b"-", b"...", b"[a]"]
_NAMES = st.one_of(
    st.sampled_from(PLAIN),
    st.sampled_from(PLAIN),
    st.sampled_from(PLAIN + _ODD),
    st.binary(min_size=1, max_size=6).filter(lambda name: not set(name) & set(b"/\0") and name not in (b".", b"..")),
)
_MODES = st.sampled_from([0o644, 0o755, 0o600, 0o444, 0o4755, 0o2711, 0o666, 0o400])
_DIR_MODES = st.sampled_from([0o755, 0o700, 0o1777, 0o2750])
_TIMES = st.integers(1, 2 * 10**18)
_SIZES = st.one_of(
    st.sampled_from([0, 1, 100, 3000]),
    st.builds(lambda limit, step: limit + step, st.sampled_from(LIMITS), st.sampled_from([-1, 0, 1])),
)
_TARGETS = st.sampled_from([b"a", b"b", b"../a", b"c/a", b"/b", b"/etc/passwd", b"../../..", b"a.b", b"/", b"c/../b"])
_XATTRS = st.sampled_from([(), (), (), ("user.test",), ("user.test", "user.two")])
_OWNERS = st.sampled_from([0, 0, 7])


def trees(
    kinds: Iterable[str] = ("fifo", "socket", "device"), *, names: st.SearchStrategy[bytes] = _NAMES
) -> st.SearchStrategy[Tree]:
    """Trees of directories, files, links and the kinds given."""
    files = st.builds(Node, st.just("file"), _MODES, _TIMES, size=_SIZES, xattrs=_XATTRS, owner=_OWNERS)
    sparse = st.builds(Node, st.just("file"), _MODES, _TIMES, size=st.just((1 << 20) + 3), hole=st.just(True))
    links = st.builds(Node, st.just("link"), st.just(0o777), _TIMES, target=_TARGETS, owner=_OWNERS)
    hard = st.builds(Node, st.just("hard"), use=st.integers(0, 9))
    dirs = st.builds(Node, st.just("dir"), _DIR_MODES, _TIMES, xattrs=_XATTRS, owner=_OWNERS)
    odd = [st.builds(Node, st.just(kind), _MODES, _TIMES, use=st.sampled_from([3, 5])) for kind in kinds]
    nodes = st.one_of(files, files, files, sparse, links, links, hard, hard, dirs, dirs, dirs, *odd)
    paths = st.lists(names, min_size=1, max_size=3).map(b"/".join)
    return st.dictionaries(paths, nodes, max_size=16).map(_whole)


def _whole(entries: Mapping[bytes, Node]) -> Tree:
    """Entries with all directories above them, without those below something else; hard links only after a file."""
    out: dict[bytes, Node] = {}
    files = 0
    for path in sorted(entries, key=lambda path: path.split(b"/")):
        node = entries[path]
        parts = path.split(b"/")
        above = [b"/".join(parts[:depth]) for depth in range(1, len(parts))]
        if any(out.get(each, Node("dir")).kind != "dir" for each in above) or (node.kind == "hard" and not files):
            continue
        for each in above:
            out.setdefault(each, Node("dir", 0o755, 10**18))
        out[path] = node
        files += node.kind == "file"
    return out


_EACH = "a,b,c,a/b,c/a,*,*.b,?,[ab],[^a],**/b,**/a.b,a/**,c/*,**,c d,a/b/c,x*,**/c/a,a/*/b,b\\\\s,nothing,\udcff"
_PATTERN = st.sampled_from(_EACH.split(","))
_PATTERNS = st.lists(st.one_of(_PATTERN, _PATTERN, _PATTERN.map("!{}".format)), max_size=4).map(tuple)
_FOLLOW = st.lists(st.sampled_from(["a", "b", "c/a", "a/b", "c/*", "*", "a/b/c", "nothing", "[ab]"]), max_size=2)
filters = st.builds(
    Filters,
    include=st.one_of(st.just(()), st.just(()), _PATTERNS),
    exclude=st.one_of(st.just(()), _PATTERNS),
    follow=st.one_of(st.just(()), _FOLLOW.map(tuple)),
    change=st.sampled_from(["", "", "owner", "drop", "skip"]),
)
excludes = st.builds(Filters, exclude=_PATTERNS.filter(lambda each: "\udcff" not in each and "!\udcff" not in each))
