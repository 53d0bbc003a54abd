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
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from pybuildkit.solver.pb import ops_pb2
from tests.bench.measure import Row, Sample, alternate, measure

CASES = {"one": (1, 1 << 30), "many": (1000, 1 << 20), "small": (50_000, 1024)}
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


def _uploader(
    argv: Sequence[str], addr: str, folder: Path, env: Mapping[str, str], key: str | None
) -> Callable[[int], Sample]:
    def once(turn: int) -> Sample:
        definition = local_definition(key or uuid.uuid4().hex)
        words = [*argv, "--addr", addr, "build", "--progress=plain", "--local", f"context={folder}"]
        return measure(words, stdin=definition, env=env)

    return once


def upload(peer: str, addr: str, case: str, runs: int, work: Path, count: int | None = None) -> list[Row]:
    """A context sent whole, each time under a fresh key."""
    number, size = CASES[case]
    folder = make_files(work / f"upload-{case}", count or number, size)
    env = environment()
    takers = {name: _uploader(argv, addr, folder, env, None) for name, argv in programs(peer).items()}
    return alternate(f"upload {case}" + (f" x{count}" if count else ""), takers, runs, warm_up=0)


def resync(peer: str, addr: str, runs: int, work: Path, count: int | None = None) -> list[Row]:
    """The same context again: nothing changed, and 1 % of the files changed."""
    number, size = CASES["small"]
    folder = make_files(work / "resync", count or number, size)
    env = environment()
    rows = []
    takers = {}
    for name, argv in programs(peer).items():
        takers[name] = _uploader(argv, addr, folder, env, uuid.uuid4().hex)
    rows += alternate("resync unchanged", takers, runs)
    files = sorted(p for p in folder.rglob("f*") if p.is_file())

    def changed(once: Callable[[int], Sample]) -> Callable[[int], Sample]:
        def run(turn: int) -> Sample:
            for path in files[turn::100]:
                path.write_bytes(os.urandom(1024))
            return once(turn)

        return run

    rows += alternate("resync 1% changed", {name: changed(once) for name, once in takers.items()}, runs, warm_up=0)
    return rows


_MAKE = {
    "one": "mkdir /out; dd if=/dev/urandom of=/out/f bs=1048576 count=1024",
    "many": (
        "mkdir /out; i=0; while [ $i -lt 1000 ]; do dd if=/dev/urandom of=/out/f$i bs=1048576 count=1; i=$((i+1)); done"
    ),
    "small": (
        "mkdir /out; dd if=/dev/urandom of=/r bs=1024 count=1; d=0; while [ $d -lt 500 ]; do "
        "mkdir -p /out/$((d/50))/$d; "
        "i=0; while [ $i -lt 100 ]; do cat /r > /out/$((d/50))/$d/f$i; i=$((i+1)); done; d=$((d+1)); done"
    ),
}


def download(peer: str, addr: str, case: str, runs: int, work: Path, tar: bool = False) -> list[Row]:
    """A result that the daemon holds, exported into a fresh folder or a tar file."""
    busybox = shutil.which("busybox")
    if busybox is None:
        raise SystemExit("bench: download needs a static busybox (Debian package busybox-static)")
    context = work / f"download-{case}"
    context.mkdir()
    shutil.copy(busybox, context / "busybox")
    (context / "Dockerfile").write_text(
        'FROM scratch AS make\nCOPY busybox /bin/\nENV PATH=/bin\nRUN ["/bin/busybox", "sh", "-c", "'
        "/bin/busybox --install -s /bin; " + _MAKE[case] + '"]\nFROM scratch\nCOPY --from=make /out /\n'
    )
    env = environment()

    def taker(argv: Sequence[str]) -> Callable[[int], Sample]:
        def once(turn: int) -> Sample:
            target = work / f"out-{uuid.uuid4().hex}"
            output = f"type=tar,dest={target}" if tar else f"type=local,dest={target}"
            words = [*argv, "--addr", addr, "build", "--progress=plain", "--frontend=dockerfile.v0"]
            words += ["--local", f"context={context}", "--local", f"dockerfile={context}", "--output", output]
            words += ["--opt", "force-network-mode=host", "--allow", "network.host"]
            sample = measure(words, env=env)
            if tar:
                target.unlink()
            else:
                shutil.rmtree(target)
            return sample

        return once

    takers = {name: taker(argv) for name, argv in programs(peer).items()}
    return alternate(f"download {case}{' tar' if tar else ''}", takers, runs)


def build(peer: str, addr: str, mebibytes: int, runs: int, work: Path) -> list[Row]:
    """The main job: dockerfile.v0, COPY of a context, a local export of a small result."""
    context = work / f"build-{mebibytes}"
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
            target = work / f"out-{uuid.uuid4().hex}"
            words = [*argv, "--addr", addr, "build", "--progress=plain", "--frontend=dockerfile.v0"]
            words += ["--local", f"context={context}", "--local", f"dockerfile={context}"]
            sample = measure([*words, "--output", f"type=local,dest={target}"], env=env)
            shutil.rmtree(target)
            return sample

        return once

    return alternate(f"build {mebibytes} MiB", {n: taker(a) for n, a in programs(peer).items()}, runs)
