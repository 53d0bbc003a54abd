"""Section G of the list of faults, as far as exports go: a daemon that lies, and one that wants to write elsewhere."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from pybuildkit.golang.errors import BuildkitError
from pybuildkit.rpc import RpcError
from pybuildkit.third_party.fsutil import (
    MODE_CHAR_DEVICE,
    MODE_DEVICE,
    MODE_DIR,
    MODE_NAMED_PIPE,
    MODE_SETUID,
    MODE_SYMLINK,
    Stat,
)
from pybuildkit.third_party.fsutil._packet import (
    END_OF_LIST,
    FIN_PACKET,
    data_end,
    data_header,
    error_packet,
    stat_packet,
)
from tests.conformance.faulty import BUILD, LOCAL, TAR, Build, Script, names, one_error, serve
from tests.daemons import run, write_tree


def file(path: str | bytes, content: bytes = b"evil") -> Stat:
    return Stat(path.encode() if isinstance(path, str) else path, 0o644, size=len(content))


def folder(path: str) -> Stat:
    return Stat(path.encode(), MODE_DIR | 0o755)


def link(path: str, target: str) -> Stat:
    return Stat(path.encode(), MODE_SYMLINK | 0o777, size=len(target), linkname=target.encode())


def hard(path: str, target: str) -> Stat:
    return Stat(path.encode(), 0o644, linkname=target.encode())


class Hostile(Script):
    """Sends a list of entries, four bytes for every file that is asked for, and claims success in the end."""

    def __init__(self, *entries: Stat) -> None:
        self.entries = entries

    async def export(self, build: Build) -> Mapping[str, str]:
        stream = await build.export()
        try:
            await stream.send_many([*map(stat_packet, self.entries), END_OF_LIST])
            while messages := await stream.recv_many():
                for message in messages:
                    if message[:2] == b"\x08\x01":
                        id = message[3] if len(message) > 2 else 0
                        await stream.send_many([data_header(id, 4) + b"evil", data_end(id)])
                    elif message == FIN_PACKET:
                        await stream.send_many([FIN_PACKET])
        except BuildkitError:
            pass  # the client has refused; this daemon does not care
        finally:
            stream.cancel()
        return {}


ESCAPES = {
    "parent": [file("../outside/new")],
    "parent in the middle": [folder("a"), file("a/../../outside/new")],
    "absolute": [file("{outside}/new")],
    "dot": [file("./x")],
    "empty": [file("")],
    "slash at the end": [folder("a/")],
    "double slash": [folder("a"), file("a//b")],
    "NUL": [file("a\0b")],
    "through a link": [link("l", "{outside}"), file("l/new")],
    "through a relative link": [link("l", "../outside"), file("l/new")],
    "over a file through a link": [link("l", "../outside"), file("l/precious")],
    "hard link outside": [hard("h", "../outside/precious")],
    "absolute hard link": [hard("h", "{outside}/precious")],
    "hard link through a link": [link("a", "../outside"), hard("h", "a/precious")],
    "device": [Stat(b"dev", MODE_DEVICE | MODE_CHAR_DEVICE | 0o666, devmajor=1, devminor=3)],
    "trusted attribute": [Stat(b"f", 0o644, xattrs={"trusted.overlay.opaque": b"y"})],
    "NUL in a link": [Stat(b"l", MODE_SYMLINK | 0o777, linkname=b"{outside}\0x")],
    "out of order": [file("b"), file("a")],
    "twice": [file("a"), file("a")],
    "file as folder": [file("a"), file("a/b")],
    "no parent": [file("a/b/c")],
}


@pytest.mark.parametrize("name", ESCAPES)
def test_names_and_links_that_lead_outside(tmp_path: Path, work: Path, name: str) -> None:
    outside = tmp_path / "outside"
    write_tree(outside, {"precious": "mine"})
    entries = []
    for given in ESCAPES[name]:
        entry = given.clone()
        entry.path, entry.linkname = fill(entry.path, outside), fill(entry.linkname, outside)
        entries.append(entry)
    with serve(Hostile(*entries), tmp_path) as daemon:
        result = run(*BUILD, *LOCAL, addr=daemon.addr, cwd=work)
    assert "local export to out is incomplete" in one_error(result)
    assert names(outside) == {"precious"}
    assert (outside / "precious").read_text() == "mine"
    assert (outside / "precious").stat().st_nlink == 1
    assert {n for n in names(work) if not n.startswith("out")} == set()
    for path in (work / "out").rglob("*"):
        assert not path.is_block_device()
        assert not path.is_char_device()


def fill(value: bytes, outside: Path) -> bytes:
    return value.replace(b"{outside}", os.fsencode(outside))


def test_link_in_the_destination_is_replaced(tmp_path: Path, work: Path) -> None:
    outside = tmp_path / "outside"
    write_tree(outside, {"precious": "mine"})
    (work / "out").mkdir()
    (work / "out/d").symlink_to(outside)
    (work / "out/f").symlink_to(outside / "precious")
    with serve(Hostile(folder("d"), file("d/precious"), file("f")), tmp_path) as daemon:
        result = run(*BUILD, *LOCAL, addr=daemon.addr, cwd=work)
    assert result.code == 0, result.stderr
    assert (outside / "precious").read_text() == "mine"
    assert names(outside) == {"precious"}
    assert (work / "out/d/precious").read_text() == "evil"
    assert not (work / "out/d").is_symlink()
    assert not (work / "out/f").is_symlink()


def test_links_that_point_outside_are_kept_as_they_are(tmp_path: Path, work: Path) -> None:
    with serve(Hostile(link("a", "/etc/passwd"), link("b", "../../..")), tmp_path) as daemon:
        result = run(*BUILD, *LOCAL, addr=daemon.addr, cwd=work)
    assert result.code == 0, result.stderr
    assert os.readlink(work / "out/a") == "/etc/passwd"
    assert os.readlink(work / "out/b") == "../../.."


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes devices")
def test_special_files_that_were_asked_for(tmp_path: Path, work: Path) -> None:
    seen: list[Mapping[str, str]] = []

    class Special(Hostile):
        async def export(self, build: Build) -> Mapping[str, str]:
            seen.append(dict(build.request.Exporters[0].Attrs))
            return await super().export(build)

    entries = [
        Stat(b"dev", MODE_DEVICE | MODE_CHAR_DEVICE | 0o666, devmajor=1, devminor=3),
        Stat(b"fifo", MODE_NAMED_PIPE | 0o600),
        Stat(b"suid", MODE_SETUID | 0o755, size=4),
    ]
    with serve(Special(*entries), tmp_path) as daemon:
        output = "type=local,dest=out,special-files=true"
        result = run(*BUILD, "--output", output, addr=daemon.addr, cwd=work)
    if "operation not permitted" in result.stderr:
        pytest.skip("this machine makes no devices")
    assert result.code == 0, result.stderr
    assert seen == [{}]
    assert (work / "out/dev").is_char_device()
    assert (work / "out/fifo").is_fifo()


@pytest.mark.skipif(os.geteuid() != 0, reason="the set-id bit needs the file's owner")
def test_set_id_bits_and_fifos_are_kept(tmp_path: Path, work: Path) -> None:
    entries = [Stat(b"fifo", MODE_NAMED_PIPE | 0o600), Stat(b"suid", MODE_SETUID | 0o755, size=4)]
    with serve(Hostile(*entries), tmp_path) as daemon:
        result = run(*BUILD, *LOCAL, addr=daemon.addr, cwd=work)
    assert result.code == 0, result.stderr
    assert (work / "out/fifo").is_fifo()
    assert (work / "out/suid").stat().st_mode & 0o7777 == 0o4755


class Packets(Script):
    """Sends packets whatever is asked, then half-closes or breaks off, and claims success."""

    def __init__(self, *packets: bytes, then: str = "half-close") -> None:
        self.packets = packets
        self.then = then

    async def export(self, build: Build) -> Mapping[str, str]:
        stream = await build.export()
        try:
            await stream.send_many(list(self.packets))
            if self.then == "half-close":
                await stream.close_send()
                while await stream.recv_many():
                    pass
            elif self.then == "listen":
                while await stream.recv_many():
                    pass
        except RpcError:
            pass  # refused
        finally:
            stream.cancel()
        return {}


ONE = [stat_packet(file("a")), END_OF_LIST]
WHOLE = [data_header(0, 4) + b"good", data_end(0)]


@pytest.mark.parametrize(
    ("packets", "text"),
    [
        ([*ONE, END_OF_LIST], "second end of the list"),
        ([END_OF_LIST, END_OF_LIST], "second end of the list"),
        ([*ONE, stat_packet(file("b"))], "STAT after the end of the list"),
        ([*ONE, data_header(0, 2) + b"go", data_end(0), FIN_PACKET], "shorter"),
        ([*ONE, data_header(0, 6) + b"gooood", data_end(0), FIN_PACKET], "longer"),
        ([stat_packet(file("a")), FIN_PACKET], "unexpected FIN"),
        ([*ONE, data_header(0, 2) + b"go", FIN_PACKET], "unexpected FIN"),
        ([*ONE, *WHOLE], "unexpected EOF"),
        ([stat_packet(file("a"))], "unexpected EOF"),
        ([], "unexpected EOF"),
        ([*ONE, data_header(7, 4) + b"evil"], "invalid file request 7"),
        ([*ONE, *WHOLE, *WHOLE], "invalid file request 0"),
        ([b"\xff\xff\xff"], ""),
        ([b"\x08\x09"], "unexpected packet of type 9"),
        ([error_packet("disk on fire")], "error from sender: disk on fire"),
    ],
)
def test_broken_transfer(tmp_path: Path, work: Path, packets: list[bytes], text: str) -> None:
    with serve(Packets(*packets), tmp_path) as daemon:
        result = run(*BUILD, *LOCAL, addr=daemon.addr, cwd=work, timeout=20)
    error = one_error(result)
    assert text in error
    assert "local export to out is incomplete" in error
    for path in (work / "out").rglob("*"):
        assert path.read_bytes() == b"good"


def test_transfer_that_is_reset(tmp_path: Path, work: Path) -> None:
    with serve(Packets(*ONE, then="reset"), tmp_path) as daemon:
        result = run(*BUILD, *LOCAL, addr=daemon.addr, cwd=work, timeout=20)
    one_error(result)
    assert names(work) <= {"out"}


class TwoFiles(Script):
    """Sends a file export, and then another for the same one."""

    async def export(self, build: Build) -> Mapping[str, str]:
        for content in (b"first", b"second"):
            try:
                writer = await build.file()
                await writer.write_all(content)
                await writer.close()
            except BuildkitError as err:
                return {"refused": str(err)}
        return {}


def test_two_sends_for_one_file(tmp_path: Path, work: Path) -> None:
    with serve(TwoFiles(), tmp_path) as daemon:
        result = run(*BUILD, *TAR, addr=daemon.addr, cwd=work)
    assert "has already sent its file" in one_error(result)
    assert "second" not in {path.read_text() for path in work.iterdir()}


class TwoTrees(Script):
    """Sends a directory in two transfers, as old daemons do for two platforms."""

    def __init__(self, *second: Stat) -> None:
        self.second = second

    async def export(self, build: Build) -> Mapping[str, str]:
        await Hostile(folder("linux_amd64"), file("linux_amd64/f")).export(build)
        await Hostile(*self.second).export(build)
        return {}


def test_two_transfers_for_one_directory(tmp_path: Path, work: Path) -> None:
    with serve(TwoTrees(folder("linux_arm64"), file("linux_arm64/f")), tmp_path) as daemon:
        result = run(*BUILD, *LOCAL, addr=daemon.addr, cwd=work)
    assert result.code == 0, result.stderr
    platforms = {"linux_amd64", "linux_arm64"}
    assert names(work / "out") == platforms | {f"{name}/f" for name in platforms}


def test_second_transfer_that_breaks(tmp_path: Path, work: Path) -> None:
    with serve(TwoTrees(file("../x")), tmp_path) as daemon:
        result = run(*BUILD, *LOCAL, addr=daemon.addr, cwd=work)
    assert "local export to out is incomplete" in one_error(result)


class OtherExport(Script):
    """Sends an export that nobody asked for."""

    async def export(self, build: Build) -> Mapping[str, str]:
        writer = await build.file(5)
        try:
            await writer.write_all(b"evil")
            await writer.close()
        except BuildkitError:
            return {}
        return {}


def test_export_that_nobody_asked_for(tmp_path: Path, work: Path) -> None:
    with serve(OtherExport(), tmp_path) as daemon:
        result = run(*BUILD, *TAR, addr=daemon.addr, cwd=work)
    one_error(result)
    assert names(work) == set()
