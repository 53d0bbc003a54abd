"""What a daemon makes of a Dockerfile, in a form that two daemons can be compared by.

    python -m tests.fake_buildkitd.twins ADDR        records `recorded.json`, `mistakes.json` and `good.json` from
                                                     a real daemon

The recorded answers are BuildKit v0.32.2's.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import os
import re
import sys
import tarfile
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pybuildkit.client import Client
from pybuildkit.client._client import new
from pybuildkit.client._solveopt import ExportEntry, SolveOpt
from pybuildkit.golang import context
from pybuildkit.golang.errors import error_text
from pybuildkit.rpc import Buffer
from pybuildkit.solver.errdefs import print_source, sources
from pybuildkit.third_party import fsutil
from tests.fake_buildkitd.dockerfiles import CASES, CONTEXT, Case, Content
from tests.fake_buildkitd.good import GOOD
from tests.fake_buildkitd.helpers import solve
from tests.fake_buildkitd.mistakes import MISTAKES

RECORDED = Path(__file__).with_name("recorded.json")
RECORDED_MISTAKES = Path(__file__).with_name("mistakes.json")
RECORDED_GOOD = Path(__file__).with_name("good.json")
_TIME = 1_500_000_000
_OWN = [
    (re.compile(r"ref [a-z0-9]+::[a-z0-9]+"), "ref X"),
    (re.compile(r"(?<= )/\S*/(?:snapshots/\d+(?:/fs)?|cachemounts/buildkit\d+)(?=/)"), ""),
    (re.compile(r"(?<=lstat )/tmp/[^/ ]+"), "CONTEXT"),
]
"""What a text has of one daemon, one machine or one run."""

Observed = dict[str, object]


class _Memory:
    """Where a tar export goes."""

    def __init__(self) -> None:
        self.data = bytearray()

    def write_all(self, data: Buffer) -> None:
        self.data += data

    def close(self) -> None:
        pass

    def abort(self) -> None:
        self.data.clear()


def plain(text: str) -> str:
    """A text without what is different on every daemon."""
    for pattern, instead in _OWN:
        text = pattern.sub(instead, text)
    return text


def make_context(root: Path, case: Case) -> Path:
    """The context of a case, all times set to one second of the past."""
    files: dict[str, Content] = {**CONTEXT, **case.extra}
    if case.text is not None:
        files["Dockerfile"] = case.text
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        _make(root, path, content)
    for folder, names, plain in os.walk(root, topdown=False):
        os.chmod(folder, 0o700 if folder == str(root / "e") else 0o755)
        for name in [*names, *plain]:
            os.utime(os.path.join(folder, name), (_TIME, _TIME), follow_symlinks=False)
    return root


def _make(root: Path, path: Path, content: Content) -> None:
    kind, value = ("f644", content) if isinstance(content, str) else content
    if isinstance(value, dict):
        _archive(path, "w:gz" if kind.endswith(":gz") else "w", value)
        _spoil(path, kind.partition(":")[2])
    elif kind == "l":
        path.symlink_to(value)
    elif kind == "hard":
        os.link(root / value, path)
    elif kind == "fifo":
        os.mkfifo(path, 0o644)
    elif kind.startswith("d"):
        path.mkdir()
    else:
        path.write_bytes(value.encode("utf-8", "surrogateescape"))
        path.chmod(int(kind[1:], 8))


def _spoil(path: Path, how: str) -> None:
    """Make a broken archive: cut to a number of bytes, or with junk in place of its end."""
    data = path.read_bytes()
    if how.isdigit():
        path.write_bytes(data[: int(how)])
    elif how == "junk":
        members = data.rstrip(b"\0")
        path.write_bytes(members + bytes(-len(members) % 512) + b"x" * 512)


def _archive(path: Path, mode: str, members: Mapping[str, tuple[str, int, str]]) -> None:
    types = {"d": tarfile.DIRTYPE, "l": tarfile.SYMTYPE, "h": tarfile.LNKTYPE}
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]  # a mode of the table
        for name, (kind, bits, text) in members.items():
            info = tarfile.TarInfo(name)
            info.mode, info.uid, info.gid, info.mtime = bits, 7, 8, 1000
            info.type = types.get(kind, tarfile.REGTYPE)
            if kind in ("l", "h"):
                info.linkname = text
            data = text.encode() if kind == "f" else b""
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))


async def observe(client: Client, case: Case, *, printed: bool = False) -> Observed:
    """What a daemon makes of a case: the tree, the steps, their errors, warnings, the build's error and its lines.

    With `printed` also the lines as they are shown to the user.
    """
    with tempfile.TemporaryDirectory() as folder:
        root = make_context(Path(folder), case)
        fs = fsutil.new_fs(str(root))
        out = _Memory()
        opt = SolveOpt(
            frontend="dockerfile.v0",
            frontend_attrs={**case.options},
            local_mounts={"context": fs, "dockerfile": fs},
            exports=[ExportEntry(type="tar", output=lambda md: out)],
            shared_key=hashlib.sha256(case.name.encode()).hexdigest(),  # a header: no line ends
        )
        built = await solve(client, opt)
    observed: Observed = {
        "steps": sorted(built.names()),
        "step errors": {name: plain(text) for name, text in sorted(built.errors().items())},
        "warnings": sorted(built.warnings()),
        "error": plain(error_text(built.error)) if built.error is not None else "",
        "lines": [[r.start.line for r in source.ranges] for source in sources(built.error)],
        "tree": _tree(bytes(out.data)) if built.error is None else {},
    }
    if printed:
        observed["printed"] = [print_source(source) for source in sources(built.error)]
    as_read: Observed = json.loads(json.dumps(observed))
    return as_read


def _tree(data: bytes) -> dict[str, list[object]]:
    found: dict[str, list[object]] = {}
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        for member in archive:
            file = archive.extractfile(member) if member.isreg() else None
            text = file.read().decode("latin-1") if file is not None and not member.name.endswith(".tgz") else ""
            time = int(member.mtime) if member.isreg() and member.mtime <= _TIME else 0
            fields = [member.type.decode(), f"{member.mode:o}", member.uid, member.gid, member.linkname, text, time]
            found[member.name] = list(fields)
    return found


async def describe_image(client: Client, case: Case) -> Observed:
    """What a daemon makes of a case as an image: `observe`, and the configuration without times and digests."""
    observed = await observe(client, case)
    if observed["error"]:
        return observed
    with tempfile.TemporaryDirectory() as folder:
        fs = fsutil.new_fs(str(make_context(Path(folder), case)))
        out = _Memory()
        opt = SolveOpt(
            frontend="dockerfile.v0",
            frontend_attrs={**case.options},
            local_mounts={"context": fs, "dockerfile": fs},
            exports=[ExportEntry(type="oci", output=lambda md: out)],
            shared_key=hashlib.sha256(case.name.encode()).hexdigest(),
        )
        built = await solve(client, opt)
    if built.error is not None:
        raise built.error
    return {**observed, "image": _configuration(bytes(out.data))}


def _configuration(data: bytes) -> object:
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:

        def blob(descriptor: Mapping[str, str]) -> dict[str, Any]:
            file = archive.extractfile("blobs/" + descriptor["digest"].replace(":", "/"))
            assert file is not None
            value: dict[str, Any] = json.load(file)
            return value

        index = archive.extractfile("index.json")
        assert index is not None
        manifest = blob(json.load(index)["manifests"][0])
        config = blob(manifest["config"])
    config.pop("created", None)
    for entry in config["history"] or ():
        entry.pop("created", None)
    config["rootfs"]["diff_ids"] = len(config["rootfs"]["diff_ids"] or ())
    return config


async def complain(client: Client, case: Case) -> Observed:
    """What a daemon says of a Dockerfile with a mistake: `observe` without what is empty, and the marked lines."""
    observed = await observe(client, case, printed=True)
    del observed["lines"], observed["tree"]
    return {key: value for key, value in observed.items() if value}


async def record(addr: str) -> dict[Path, dict[str, Observed]]:
    """The answers of a daemon to all cases."""
    async with await new(context.background(), addr) as client:
        return {
            RECORDED: {case.name: await observe(client, case) for case in CASES},
            RECORDED_MISTAKES: {case.name: await complain(client, case) for case in MISTAKES},
            RECORDED_GOOD: {case.name: await describe_image(client, case) for case in GOOD},
        }


def main() -> None:
    """Write the answers of the daemon that is named on the command line."""
    for path, answers in asyncio.run(record(sys.argv[1])).items():
        path.write_text(json.dumps(answers, indent=1, ensure_ascii=False, sort_keys=True) + "\n")
        print(f"{len(answers)} answers in {path}")


if __name__ == "__main__":
    main()
