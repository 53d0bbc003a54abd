"""Every system call that a command makes on what it writes, and on what it reads, fails once, by a sweep.

A good run records the calls on the folder of the outputs, each by its name and the place in our code that makes it.
Then the build is run again for the first and the last call of each place, and that call fails. Whatever fails: no
traceback, no descriptor left, no temporary file, and under every final name either nothing, what was there before,
or the whole.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pybuildkit.golang.errors import BuildkitError
from pybuildkit.session.auth.authprovider._tokenseed import TokenSeeds
from tests.cmd.buildctl.streams import run_in_process
from tests.daemons import environment, wait_for, write_tree
from tests.third_party.fsutil.transfer import open_descriptors

_NAMES = (
    "open write writev pwrite pwritev fsync rename replace mkdir rmdir unlink link symlink ftruncate truncate chmod "
    "fchmod chown fchown utime stat lstat fstat scandir listdir lseek read pread readv preadv readlink setxattr "
    "listxattr getxattr mkfifo mknod close"
)
CALLS = _NAMES.split()
_OURS = str(Path(__file__).resolve().parents[2] / "pybuildkit")

Site = tuple[str, str]
"""A call's name, and the place in our code that it comes from."""


class Sweeper:
    """Stands in for functions of os; counts their calls on a folder, and lets one fail.

    Args:
        folder: whose calls count.
        fail: the site and the number of the call that fails; none where it is None.
    """

    def __init__(self, folder: Path, fail: tuple[Site, int] | None = None) -> None:
        self.counts: dict[Site, int] = defaultdict(int)
        self.failed = False
        self._folder = os.fsencode(folder)
        self._fail = fail
        self._lock = threading.Lock()
        self._real_readlink = os.readlink

    def install(self, patch: pytest.MonkeyPatch) -> None:
        """Replace the functions."""
        for name in CALLS:
            patch.setattr(os, name, self._wrapped(name, getattr(os, name)))
        patch.setattr(fcntl, "flock", self._wrapped("flock", fcntl.flock))

    def _wrapped(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            if not self._concerns(args, kwargs):
                return function(*args, **kwargs)
            place = _place()
            if place is None:
                return function(*args, **kwargs)
            with self._lock:
                site = (name, place)
                self.counts[site] += 1
                fails = self._fail == (site, self.counts[site])
                self.failed |= fails
            if fails and name == "close":
                function(*args, **kwargs)
            if fails:
                names = [arg for arg in args[:1] if isinstance(arg, str | bytes)]
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), *names)
            return function(*args, **kwargs)

        return call

    def _concerns(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        for key in ("dir_fd", "src_dir_fd", "dst_dir_fd"):
            if isinstance(kwargs.get(key), int) and self._is_below(kwargs[key]):
                return True
        return any(self._is_below(arg) for arg in args[:2])

    def _is_below(self, what: object) -> bool:
        if isinstance(what, bool) or not isinstance(what, int | str | bytes | os.PathLike):
            return False
        if isinstance(what, int):
            try:
                path = os.fsencode(self._real_readlink(f"/proc/self/fd/{what}"))
            except OSError:
                return False
        else:
            path = os.path.abspath(os.fsencode(what))
        return path == self._folder or path.startswith(self._folder + b"/")


def _place() -> str | None:
    """Where in our code the call is made; None where it is not ours."""
    frame = sys._getframe(2)
    for _ in range(8):
        if frame.f_code.co_filename.startswith(_OURS):
            return f"{os.path.relpath(frame.f_code.co_filename, _OURS)}:{frame.f_lineno}"
        if frame.f_back is None:
            return None
        frame = frame.f_back
    return None


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A daemon in a process of its own: its calls must not fail."""
    folder = tmp_path_factory.mktemp("daemon")
    addr = f"unix://{folder}/s"
    argv = [sys.executable, "-m", "fake_buildkitd", "--addr", addr, "--root", str(folder / "state")]
    with subprocess.Popen(argv, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        wait_for((folder / "s").exists, "the daemon's socket")
        yield addr
        process.terminate()


FILES = ["--metadata-file", "out/metadata.json", "--ref-file", "out/ref", "--trace", "out/trace"]
BUILDS: dict[str, list[str]] = {
    "local": ["--output", "type=local,dest=out/d"],
    "delete": ["--output", "type=local,dest=out/d,mode=delete"],
    "tar": ["--output", "type=tar,dest=out/t.tar"],
    "oci": ["--output", "type=oci,dest=out/o.tar", *FILES],
    "docker": ["--output", "type=docker,name=x,dest=out/k.tar"],
    "store": ["--output", "type=oci,tar=false,dest=out/s"],
    "cache": ["--export-cache", "type=local,dest=out/c,mode=max"],
}


def before(work: Path) -> None:
    """What is there before every run: an old output under each final name that is a file."""
    old = {f"out/{name}": f"old {name}" for name in ("t.tar", "o.tar", "k.tar", "metadata.json", "ref", "d/gone/x")}
    write_tree(work, {**old, "out/d/f": "old"})


def command(work: Path, addr: str, kind: str, patch: pytest.MonkeyPatch) -> tuple[int, str]:
    """Run a build that writes, in this process."""
    return build(work, addr, BUILDS[kind], patch)


def build(work: Path, addr: str, words: list[str], patch: pytest.MonkeyPatch) -> tuple[int, str]:
    """Run a build in this process: its code and its standard error."""
    patch.chdir(work)
    patch.setenv("HOME", str(work))
    argv = ["--addr", addr, "build", "--frontend=dockerfile.v0", "--progress=plain", "--local", "context=test"]
    code, _, stderr = run_in_process(*argv, "--local", "dockerfile=test", *words)
    return code, stderr


def leftovers(out: Path) -> list[str]:
    """Temporary files; an ingest of a store stays to be resumed."""
    return [
        path
        for path in (
            os.path.relpath(os.path.join(folder, name), out) for folder, _, names in os.walk(out) for name in names
        )
        if ".tmp" in os.path.basename(path)
    ]


def files(out: Path) -> dict[str, bytes]:
    """The files under their final names."""
    found = {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*") if path.is_file()}
    return {name: data for name, data in found.items() if "/ingest/" not in name and not name.endswith(".lock")}


def whole(name: str, data: bytes, good: dict[str, bytes], kind: str) -> bool:
    """Whether a file is what was there, what a good run gives, or complete by itself."""
    base = os.path.basename(name)
    if data in (good.get(name), f"old {name}".encode()) or (name == "d/f" and data == b"old"):
        return True
    if "/blobs/" in f"/{name}":
        return hashlib.sha256(data).hexdigest() == base
    if name == "trace":
        return all(isinstance(json.loads(line), dict) for line in data.splitlines()[:-1])
    if name == "ref":
        return len(data) == 25
    if name == "metadata.json" or base in ("index.json", "oci-layout"):
        return isinstance(json.loads(data), dict)
    return name in ("o.tar", "k.tar") and len(data) == len(good[name]) and data.endswith(bytes(1024))


@pytest.mark.parametrize("kind", BUILDS)
def test_each_call_of_a_build_fails_once(daemon: str, tmp_path: Path, kind: str) -> None:
    text = "FROM scratch\nCOPY d /d\nCOPY f /\n"
    todo: list[tuple[Site, int]] = []
    good: dict[str, bytes] = {}
    for number in range(400):
        work = tmp_path / str(number)
        write_tree(work, {"test/Dockerfile": text, "test/d/a": "a" * 300_000, "test/f": "content", "test/d/e": ""})
        (work / "test/d/s").write_text("small and new")
        (work / "test/d/l").symlink_to("a")
        before(work)
        descriptors = open_descriptors()
        fail = todo[number - 1] if number else None
        with pytest.MonkeyPatch.context() as patch:
            sweeper = Sweeper(work / "out", fail)
            sweeper.install(patch)
            code, stderr = command(work, daemon, kind, patch)
        if not number:
            assert code == 0, stderr
            good = files(work / "out")
            todo = [(site, nth) for site, count in sweeper.counts.items() for nth in sorted({1, count})]
            assert len(todo) >= 5
            assert ("flock" in {site[0] for site, _ in todo}) == (kind in ("store", "cache"))
        assert "Traceback" not in stderr
        assert "Error" not in stderr.replace("DeprecationWarning", "")
        assert open_descriptors() <= descriptors, fail
        if fail is not None and sweeper.failed:
            check(work / "out", good, kind, code, stderr, fail)
        if number == len(todo):
            break


def check(out: Path, good: dict[str, bytes], kind: str, code: int, stderr: str, fail: tuple[Site, int]) -> None:
    """What a run whose call failed left behind."""
    assert fail[0][0] == "unlink" or leftovers(out) == [], fail
    left = files(out)
    assert [name for name, data in left.items() if not whole(name, data, good, kind)] == [], fail
    if code:
        assert stderr.splitlines()[-1].startswith("error: "), fail
    elif kind != "store":
        assert set(good) <= set(left), fail


INPUTS = {
    "context": "test",
    "cache": "in",
    "layout": "in",
}
"""The folder of each input."""
READ: dict[str, list[str]] = {
    "context": [],
    "cache": ["--import-cache", "type=local,src=in/c"],
    "layout": ["--oci-layout", "base=in/l"],
}


def inputs(work: Path, kind: str) -> str:
    """Make what is read; the Dockerfile that reads it."""
    write_tree(work, {"test/d/a": "a" * 300_000, "test/f": "content", "test/d/e": "", "test/g": "g" * 70_000})
    (work / "test/d/l").symlink_to("a")
    os.link(work / "test/f", work / "test/d/h")
    with contextlib.suppress(OSError):  # not every file system has attributes
        os.setxattr(work / "test/f", "user.name", b"value")
    os.mkfifo(work / "test/pipe")
    return f"FROM {'base' if kind == 'layout' else 'scratch'}\nCOPY d /d\nCOPY f g /\n"


@pytest.fixture(scope="module")
def stores(daemon: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache and an image, each in a store of its own."""
    work = tmp_path_factory.mktemp("stores")
    text = inputs(work, "cache")
    write_tree(work, {"test/Dockerfile": text})
    for words in (["--export-cache", "type=local,dest=c,mode=max"], ["--output", "type=oci,tar=false,dest=l"]):
        with pytest.MonkeyPatch.context() as patch:
            code, stderr = build(work, daemon, words, patch)
        assert code == 0, stderr
    return work


@pytest.mark.parametrize("kind", READ)
def test_each_call_on_an_input_fails_once(daemon: str, stores: Path, tmp_path: Path, kind: str) -> None:
    """A whole result or an error, one line that says so, and the inputs as they were."""
    todo: list[tuple[Site, int]] = []
    good: dict[str, bytes] = {}
    failed = 0
    words = READ[kind]
    if kind == "layout":
        index = json.loads((stores / "l/index.json").read_text())
        words = [*words, "--opt", f"context:base=oci-layout://base@{index['manifests'][0]['digest']}"]
    for number in range(400):
        work = tmp_path / str(number)
        text = inputs(work, kind)
        # Every build is new to the daemon, but for what it could find in a cache that it is given.
        write_tree(work, {"test/Dockerfile": text + ("" if kind == "cache" else f"LABEL number={number}\n")})
        for store in ("c", "l"):
            shutil.copytree(stores / store, work / "in" / store)
        descriptors, there = open_descriptors(), files(work / "in")
        with pytest.MonkeyPatch.context() as patch:
            sweeper = Sweeper(work / INPUTS[kind], todo[number - 1] if number else None)
            sweeper.install(patch)
            code, stderr = build(work, daemon, [*words, "--output", "type=local,dest=out"], patch)
        if not number:
            assert code == 0, stderr
            good = files(work / "out")
            todo = [(site, nth) for site, count in sweeper.counts.items() for nth in sorted({1, count})]
            assert len(todo) >= 4
        where = todo[number - 1] if number else None
        assert "Traceback" not in stderr, where
        assert open_descriptors() <= descriptors, where
        assert files(work / "in") == there, where
        if code:
            failed += 1
            assert stderr.splitlines()[-1].startswith("error: "), where
        else:
            assert files(work / "out") == good, where
        if number == len(todo):
            break
    assert failed or kind == "cache", "a cache that cannot be read is done without"


def test_each_call_of_a_token_seed_fails_once(tmp_path: Path) -> None:
    todo: list[tuple[Site, int]] = []
    for number in range(60):
        folder = tmp_path / str(number)
        folder.mkdir()
        first = TokenSeeds(str(folder)).get_seed("first")
        stored = (folder / ".token_seed").read_bytes()
        descriptors = open_descriptors()
        with pytest.MonkeyPatch.context() as patch:
            sweeper = Sweeper(folder, todo[number - 1] if number else None)
            sweeper.install(patch)
            try:
                TokenSeeds(str(folder)).get_seed("second")
            except (BuildkitError, OSError):
                assert number
        if not number:
            todo = [(site, nth) for site, count in sweeper.counts.items() for nth in sorted({1, count})]
            assert {"open", "write", "rename", "flock"} <= {site[0] for site, _ in todo}
        assert open_descriptors() <= descriptors
        now = json.loads((folder / ".token_seed").read_text())
        assert (folder / ".token_seed").read_bytes() == stored or set(now) == {"first", "second"}
        assert TokenSeeds(str(folder)).get_seed("first") == first
        if number:
            name = todo[number - 1][0][0]
            assert name == "unlink" or {p.name for p in folder.iterdir()} <= {".token_seed", ".token_seed.lock"}
        if number == len(todo):
            break
