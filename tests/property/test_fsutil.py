"""Properties of file transfers: what is sent arrives, and nothing that is received leads outside or hangs."""

from __future__ import annotations

import asyncio
import hashlib
import os
import stat as unix
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pybuildkit.golang.errors import BuildkitError
from pybuildkit.third_party import fsutil
from pybuildkit.third_party.fsutil import (
    DIFF_METADATA,
    DIFF_NONE,
    FS,
    MODE_DIR,
    MODE_NAMED_PIPE,
    MODE_SYMLINK,
    FilterOpt,
    ReceiveOpt,
    Receiver,
    Stat,
    new_filter_fs,
    new_fs,
    receive,
)
from pybuildkit.third_party.fsutil._packet import (
    END_OF_LIST,
    FIN,
    FIN_PACKET,
    data_end,
    data_header,
    decode_packet,
    error_packet,
    request_packet,
    stat_packet,
)
from pybuildkit.third_party.fsutil._wire import WireError
from tests.third_party.fsutil.streams import pair
from tests.third_party.fsutil.transfer import open_descriptors, transfer

SETTINGS = settings(
    max_examples=60, deadline=None, derandomize=True, database=None, suppress_health_check=[HealthCheck.too_slow]
)

NAMES = st.sampled_from([b"a", b"b", b"a.b", b"c d", b"\xff", b"new\nline", b"*", b"b\\s", "ü".encode(), b"x" * 200])
MODES = st.sampled_from([0o644, 0o755, 0o600, 0o444, 0o4755, 0o2711, 0o1777, 0o666])
SIZES = st.sampled_from([0, 1, 100, 4096, 70_000, 300_000])
TIMES = st.integers(0, 2 * 10**18)
FILE = st.tuples(st.just("file"), SIZES, MODES, TIMES)
OTHERS = st.one_of(
    st.tuples(st.just("link"), st.sampled_from([b"a", b"../x", b"/etc/passwd", b"\xfe"]), st.just(0), TIMES),
    st.tuples(st.just("fifo"), st.just(0), MODES, TIMES),
    st.tuples(st.just("hard"), st.integers(0, 5), st.just(0), TIMES),
)
LEAVES = FILE | OTHERS
TREES: st.SearchStrategy[Any] = st.dictionaries(
    NAMES,
    st.recursive(
        LEAVES,
        lambda inner: st.tuples(st.just("dir"), st.dictionaries(NAMES, inner, max_size=4), MODES, TIMES),
        max_leaves=12,
    ),
    max_size=6,
)
PATTERNS = st.lists(
    st.sampled_from(["a", "a/b", "*", "**/b", "!a", "a.*", "[ab]", "**", "!**/a", "c d/*", "b\\\\s", "x*", "\udcff"]),
    max_size=3,
)
FILTERS = st.builds(
    FilterOpt,
    include_patterns=PATTERNS,
    exclude_patterns=PATTERNS,
    follow_paths=st.lists(st.sampled_from(["a", "b/*", "c d", "*"]), max_size=2),
)


def build(root: bytes, tree: dict[bytes, Any], files: list[bytes]) -> None:
    """Make a tree; times of directories come last."""
    for name, (kind, what, mode, time) in tree.items():
        path = root + b"/" + name
        if kind == "dir":
            os.mkdir(path)
            build(path, what, files)
        elif kind == "file":
            Path(os.fsdecode(path)).write_bytes(bytes([len(files) % 256]) * (what // 2) + bytes(what - what // 2))
            files.append(path)
        elif kind == "link":
            os.symlink(what, path)
        elif kind == "fifo":
            os.mkfifo(path)
        elif files:
            os.link(files[what % len(files)], path)
            continue
        else:
            continue
        if kind != "link":
            os.chmod(path, mode | (0o700 if kind == "dir" else 0))
        os.utime(path, ns=(time, time), follow_symlinks=False)


def picture(fs: FS) -> list[tuple[bytes, bytes, str]]:
    """A file system as values: every Stat, and what is in files."""
    out = []
    for entry in fsutil.with_hardlink_reset(fs).walk():
        stat = entry.stat()
        digest = ""
        if not stat.mode & fsutil.MODE_TYPE and not stat.linkname:
            assert entry.source is not None
            file = entry.source.open(entry.source_path)
            data = b""
            while piece := file.read(1 << 20):
                data += piece
            file.close()
            digest = hashlib.sha256(data).hexdigest()
        out.append((entry.path, stat.marshal(), digest))
    return out


@SETTINGS
@given(TREES, FILTERS)
def test_what_is_sent_arrives(tree: dict[bytes, Any], options: FilterOpt) -> None:
    with tempfile.TemporaryDirectory() as folder:
        source, dest = Path(folder, "src"), Path(folder, "dest")
        source.mkdir()
        dest.mkdir()
        build(os.fsencode(source), tree, [])
        sent = new_filter_fs(new_fs(str(source)), options)
        before = open_descriptors()
        asyncio.run(transfer(sent, dest, ReceiveOpt(merge=True)))
        assert picture(new_fs(str(dest))) == picture(sent)
        assert open_descriptors() <= before


@SETTINGS
@given(TREES, TREES, st.sampled_from([DIFF_METADATA, DIFF_NONE]))
def test_a_directory_becomes_what_is_sent(
    old: dict[bytes, Any], new: dict[bytes, Any], differ: fsutil.DiffType
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        source, dest = Path(folder, "src"), Path(folder, "dest")
        source.mkdir()
        dest.mkdir()
        build(os.fsencode(source), new, [])
        build(os.fsencode(dest), old, [])
        asyncio.run(transfer(new_fs(str(source)), dest, ReceiveOpt(differ=differ)))
        sent, got = picture(new_fs(str(source))), picture(new_fs(str(dest)))
        if differ is DIFF_METADATA:
            sent, got = _without_times_of_directories(sent), _without_times_of_directories(got)
        assert [item[:2] for item in got] == [item[:2] for item in sent]
        if differ is DIFF_NONE:
            assert got == sent


def _without_times_of_directories(items: list[tuple[bytes, bytes, str]]) -> list[tuple[bytes, bytes, str]]:
    """A directory that is as it should be is not touched, so what happens in it changes its time, as with Go."""
    out = []
    for path, raw, digest in items:
        stat = Stat.unmarshal(raw)
        if stat.is_dir():
            stat.mod_time = 0
        out.append((path, stat.marshal(), digest))
    return out


_OUT = [b"..", b"../out", b"../out/new", b"../out/secret", b"a/../../out", b"a/../../out/new", b"l/x", b"l/secret"]
EVIL = st.sampled_from([*_OUT, b"/abs", b"a", b"a/b", b"a/b/c", b"l", b".", b"", b"a\0"])
EVIL_MODES = st.sampled_from(
    [0o644, 0o644, 0o644, MODE_DIR | 0o755, MODE_SYMLINK | 0o777, MODE_NAMED_PIPE | 0o600, 1 << 26, 1 << 24]
)
_SECRETS = [b"../out/secret", b"../out/secret", b"l/secret"]
EVIL_LINKS = st.sampled_from([b"", b"", b"", *_SECRETS, b"../out", b"/", b"a", b"..", b"a\0"])
PACKETS = st.one_of(
    st.builds(stat_packet, st.builds(Stat, EVIL, EVIL_MODES, size=st.integers(-1, 4), linkname=EVIL_LINKS)),
    st.builds(stat_packet, st.builds(Stat, NAMES, EVIL_MODES, size=st.integers(0, 4), linkname=EVIL_LINKS)),
    st.builds(lambda id, data: data_header(id, len(data)) + data, st.integers(0, 5), st.binary(max_size=4)),
    st.builds(data_end, st.integers(0, 5)),
    st.sampled_from([END_OF_LIST, FIN_PACKET, request_packet(0), error_packet("no")]),
    st.binary(max_size=12),
)


@st.composite
def transfers(draw: st.DrawFn) -> list[bytes]:
    """A whole transfer, as a sender would make it of entries that none would have; a few packets of it are tampered
    with. It gets further than packets by chance do."""
    names = st.one_of(EVIL, NAMES)
    entries = draw(
        st.lists(st.builds(Stat, names, EVIL_MODES, size=st.integers(0, 4), linkname=EVIL_LINKS), max_size=4)
    )
    if draw(st.booleans()):
        entries.sort(key=lambda stat: stat.path.replace(b"/", b"\0"))
    packets = [*map(stat_packet, entries), END_OF_LIST]
    for id, stat in enumerate(entries):
        if not stat.mode & fsutil.MODE_TYPE and not stat.linkname:
            packets += [data_header(id, stat.size) + b"evil"[: stat.size]] * bool(stat.size) + [data_end(id)]
    packets.append(FIN_PACKET)
    for place, packet in draw(st.lists(st.tuples(st.integers(0, 12), st.none() | PACKETS), max_size=2)):
        packets[place : place + (packet is None)] = [] if packet is None else [packet]
    return packets


def fingerprint(root: Path, leave_out: Path) -> list[tuple[str, int, int, bytes]]:
    """Everything around the destination."""
    out = []
    for folder, folders, files in os.walk(root):
        if Path(folder) == leave_out:
            folders.clear()
            continue
        for name in sorted(folders + files):
            path = Path(folder, name)
            info = path.lstat()
            content = path.read_bytes() if unix.S_ISREG(info.st_mode) else b""
            out.append((str(path), info.st_mode, info.st_nlink if path != leave_out else 0, content))
    return out


@settings(SETTINGS, max_examples=600)
@given(st.lists(PACKETS, max_size=14) | transfers(), st.booleans())
def test_no_packets_lead_outside(packets: list[bytes], merge: bool) -> None:
    """Packets in any order, and transfers that are nearly right."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        dest = root / "dest"
        (root / "out").mkdir()
        (root / "out/secret").write_bytes(b"secret")
        dest.mkdir()
        (dest / "l").symlink_to("../out")
        (dest / "old").write_bytes(b"old")
        around, before = fingerprint(root, dest), open_descriptors()
        core = Receiver(str(dest), ReceiveOpt(merge=merge))
        try:
            core.feed(packets)
            core.end()
        except (BuildkitError, OSError):
            pass
        core.close()
        assert fingerprint(root, dest) == around
        assert open_descriptors() <= before
        assert not [name for name in os.listdir(dest) if name.startswith(".tmp.")]


@settings(SETTINGS, max_examples=120)
@given(st.lists(PACKETS, max_size=10) | transfers())
def test_a_receiver_never_hangs(packets: list[bytes]) -> None:
    """Whatever comes before the stream ends: the receiver ends too, and only a whole transfer without an error."""

    async def run(dest: str) -> None:
        from pybuildkit.golang.context import background

        near, far = pair()
        await near.send_many(packets)
        await near.close_send()
        async with asyncio.timeout(20):
            await receive(background(), far, dest, ReceiveOpt())

    with tempfile.TemporaryDirectory() as dest:
        try:
            asyncio.run(run(dest))
        except TimeoutError:
            raise
        except (BuildkitError, OSError, WireError):
            return
        kinds = [decode_packet(raw).type for raw in packets]
        assert kinds[-1] == FIN
        assert kinds.count(FIN) == 1
