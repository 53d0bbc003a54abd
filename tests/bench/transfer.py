"""Benchmarks of whole commands: start-up, uploads, downloads, repeated uploads.

Uploads are an LLB definition on standard input that is nothing but a local source with a key of its own, so that
every run starts from nothing at the daemon and no time goes into copying there. Downloads export a result that the
daemon has made before (by a RUN step, so that no context is walked) into a fresh folder.
"""

from __future__ import annotations

import os
import shutil
import sys
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pybuildkit.solver.pb import ops_pb2
from tests.bench.measure import BenchError, Row, Sample, alternate, measure

CASES = {"one": (1, 1 << 30), "many": (1000, 1 << 20), "small": (50_000, 1024)}
GROWTH = (5_000, 50_000, 200_000)
"""Numbers of small files, for how the time grows with them."""
OURS = [sys.executable, "-m", "pybuildkit.cmd.buildctl"]


def environment() -> dict[str, str]:
    """The environment of measured commands."""
    drop = ("BUILDKIT_", "PYTHONDONTWRITEBYTECODE")
    env = {k: v for k, v in os.environ.items() if not k.startswith(drop)}
    env["PYTHONPATH"] = str(Path(__file__).resolve().parent.parent.parent)
    return env


def make_files(folder: Path, count: int, size: int) -> Path:
    """Random files in three levels of folders."""
    for index in range(count):
        place = folder / f"{index // 2500:03d}" / f"{index // 50 % 50:02d}"
        place.mkdir(parents=True, exist_ok=True)
        with open(place / f"f{index:06d}", "wb") as file:
            for start in range(0, size, 1 << 20):
                file.write(os.urandom(min(1 << 20, size - start)))
    return folder


def local_definition(shared_key: str) -> bytes:
    """A definition that uploads the local source `context` under a key."""
    import hashlib

    source = ops_pb2.SourceOp(
        identifier="local://context", attrs={"local.sharedkeyhint": shared_key, "local.unique": uuid.uuid4().hex}
    )
    platform = ops_pb2.Platform(Architecture="amd64", OS="linux")
    op = ops_pb2.Op(source=source, platform=platform, constraints=ops_pb2.WorkerConstraints())
    data = op.SerializeToString(deterministic=True)
    digest = "sha256:" + hashlib.sha256(data).hexdigest()
    last = ops_pb2.Op(inputs=[ops_pb2.Input(digest=digest)]).SerializeToString(deterministic=True)
    last_digest = "sha256:" + hashlib.sha256(last).hexdigest()
    definition = ops_pb2.Definition(metadata={digest: ops_pb2.OpMetadata(), last_digest: ops_pb2.OpMetadata()})
    getattr(definition, "def").extend([data, last])
    return definition.SerializeToString(deterministic=True)


def programs(peer: str) -> dict[str, list[str]]:
    """The measured programs: the peer, and ours."""
    return {"peer": [peer], "pybuildctl": OURS}


def startup(peer: str, addr: str, runs: int) -> list[Row]:
    """Short commands, and Python itself for comparison."""
    env = environment()
    rows: list[Row] = []
    cases: dict[str, Sequence[str]] = {
        "--version": ["--version"],
        "debug workers": ["--addr", addr, "debug", "workers"],
    }

    def runner(argv: Sequence[str]) -> Callable[[int], Sample]:
        return lambda turn: measure(argv, env=env)

    for case, words in cases.items():
        takers = {name: runner([*argv, *words]) for name, argv in programs(peer).items()}
        takers["python -c pass"] = runner([sys.executable, "-c", "pass"])
        rows += alternate(case, takers, runs)
    return rows


@dataclass(frozen=True)
class Setting:
    """What is measured, and how often.

    Args:
        peer: the other program.
        addr: the daemon's address.
        runs: counted turns of each program.
        work: an empty folder for the data.
        daemon: the daemon's process; 0 where its CPU is not measured.
        scale: a part of each case's size; 1 for all of it.
    """

    peer: str
    addr: str
    runs: int
    work: Path
    daemon: int = 0
    scale: float = 1.0

    def scaled(self, number: int) -> int:
        """A number of files or bytes."""
        return max(1, int(number * self.scale))

    def files(self, case: str) -> tuple[int, int]:
        """How many files a case has, and of how many bytes."""
        count, size = CASES[case]
        return (1, self.scaled(size)) if count == 1 else (self.scaled(count), size)


def _uploader(setting: Setting, argv: Sequence[str], folder: Path, key: str | None) -> Callable[[int], Sample]:
    env = environment()

    def once(turn: int) -> Sample:
        definition = local_definition(key or uuid.uuid4().hex)
        words = [*argv, "--addr", setting.addr, "build", "--progress=plain", "--local", f"context={folder}"]
        return measure(words, stdin=definition, env=env, daemon=setting.daemon)

    return once


def upload(setting: Setting, case: str) -> list[Row]:
    """A context sent whole, each time under a fresh key."""
    if case == "growth":
        return growth(setting)
    count, size = setting.files(case)
    folder = make_files(setting.work / f"upload-{case}", count, size)
    takers = {name: _uploader(setting, argv, folder, None) for name, argv in programs(setting.peer).items()}
    return alternate(f"upload {case}", takers, setting.runs, warm_up=0)


def growth(setting: Setting) -> list[Row]:
    """Contexts of ever more small files, each sent whole."""
    rows = []
    for number in GROWTH:
        count = setting.scaled(number)
        folder = make_files(setting.work / f"growth-{count}", count, 1024)
        takers = {name: _uploader(setting, argv, folder, None) for name, argv in programs(setting.peer).items()}
        rows += alternate(f"upload growth {count}", takers, setting.runs, warm_up=0)
    return rows


def growth_report(rows: Sequence[Row]) -> str:
    """Wall time for a file, relative to that of the smallest context: 1 where the time grows with the files."""
    lines = []
    for program in dict.fromkeys(row.program for row in rows):
        counts = {int(row.case.split()[-1]): row.wall for row in rows if row.program == program}
        least = min(counts)
        steps = [
            f"{count} files x{wall / counts[least] / (count / least):.2f} a file" for count, wall in counts.items()
        ]
        lines.append(f"growth of {program}: {', '.join(steps)}")
    return "\n".join(lines)


def resync(setting: Setting) -> list[Row]:
    """The same context again: nothing changed, and 1 % of the files changed."""
    folder = make_files(setting.work / "resync", *setting.files("small"))
    takers = {}
    for name, argv in programs(setting.peer).items():
        takers[name] = _uploader(setting, argv, folder, uuid.uuid4().hex)
    rows = alternate("resync unchanged", takers, setting.runs)
    files = sorted(p for p in folder.rglob("f*") if p.is_file())

    def changed(once: Callable[[int], Sample]) -> Callable[[int], Sample]:
        def run(turn: int) -> Sample:
            for path in files[turn % 100 :: 100] or files[:1]:
                path.write_bytes(os.urandom(1024))
            return once(turn)

        return run

    changing = {name: changed(once) for name, once in takers.items()}
    return rows + alternate("resync 1% changed", changing, setting.runs, warm_up=0)


def _make(count: int, size: int) -> str:
    """A shell script that makes `count` files of `size` bytes below /out."""
    if count == 1:
        return f"mkdir /out; dd if=/dev/urandom of=/out/f bs=65536 count={max(1, size // 65536)}"
    if size > 1024:
        each = f"dd if=/dev/urandom of=/out/f$i bs={size} count=1"
        return f"mkdir /out; i=0; while [ $i -lt {count} ]; do {each}; i=$((i+1)); done"
    inner = "i=0; while [ $i -lt 100 ]; do cat /r > /out/$((d/50))/$d/f$i; i=$((i+1)); done"
    return (
        f"mkdir /out; dd if=/dev/urandom of=/r bs={size} count=1; d=0; while [ $d -lt {max(1, count // 100)} ]; do "
        f"mkdir -p /out/$((d/50))/$d; {inner}; d=$((d+1)); done"
    )


def download(setting: Setting, case: str, tar: bool = False) -> list[Row]:
    """A result that the daemon holds, exported into a fresh folder or a tar file."""
    busybox = shutil.which("busybox")
    if busybox is None:
        raise BenchError("download needs a static busybox (Debian package busybox-static)")
    if case not in CASES:
        raise BenchError(f"download has no case {case}")
    context = setting.work / f"download-{case}"
    context.mkdir()
    shutil.copy(busybox, context / "busybox")
    script = "/bin/busybox --install -s /bin; " + _make(*setting.files(case))
    (context / "Dockerfile").write_text(
        "FROM scratch AS make\nCOPY busybox /bin/\nENV PATH=/bin\n"
        f'RUN ["/bin/busybox", "sh", "-c", "{script}"]\nFROM scratch\nCOPY --from=make /out /\n'
    )
    takers = {name: _downloader(setting, argv, context, tar) for name, argv in programs(setting.peer).items()}
    return alternate(f"download {case}{' tar' if tar else ''}", takers, setting.runs)


def _downloader(setting: Setting, argv: Sequence[str], context: Path, tar: bool) -> Callable[[int], Sample]:
    env = environment()

    def once(turn: int) -> Sample:
        target = setting.work / f"out-{uuid.uuid4().hex}"
        output = f"type={'tar' if tar else 'local'},dest={target}"
        words = [*argv, "--addr", setting.addr, "build", "--progress=plain", "--frontend=dockerfile.v0"]
        words += ["--local", f"context={context}", "--local", f"dockerfile={context}", "--output", output]
        words += ["--opt", "force-network-mode=host", "--allow", "network.host"]
        sample = measure(words, env=env, daemon=setting.daemon)
        if tar:
            target.unlink()
        else:
            shutil.rmtree(target)
        return sample

    return once


def build(setting: Setting, mebibytes: int) -> list[Row]:
    """The main job: dockerfile.v0, COPY of a context, a local export of a small result."""
    context = setting.work / f"build-{mebibytes}"
    (context / "data").mkdir(parents=True)
    (context / "small").write_text("small\n")
    env = environment()

    def taker(argv: Sequence[str]) -> Callable[[int], Sample]:
        def once(turn: int) -> Sample:
            for index in range(mebibytes):
                (context / "data" / f"f{index}").write_bytes(os.urandom(1 << 20))
            (context / "Dockerfile").write_text(
                f"FROM scratch AS a\nLABEL n={uuid.uuid4().hex}\nCOPY . /\nFROM scratch\nCOPY --from=a /small /\n"
            )
            target = setting.work / f"out-{uuid.uuid4().hex}"
            words = [*argv, "--addr", setting.addr, "build", "--progress=plain", "--frontend=dockerfile.v0"]
            words += ["--local", f"context={context}", "--local", f"dockerfile={context}"]
            sample = measure([*words, "--output", f"type=local,dest={target}"], env=env, daemon=setting.daemon)
            shutil.rmtree(target)
            return sample

        return once

    takers = {name: taker(argv) for name, argv in programs(setting.peer).items()}
    return alternate(f"build {mebibytes} MiB", takers, setting.runs)
