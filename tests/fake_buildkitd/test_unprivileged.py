"""Builds by a user who may nothing: owners, devices and special modes are kept as metadata all the same.

As root the tests run the programs as the user 65534, otherwise as whoever runs the tests.
"""

from __future__ import annotations

import io
import os
import shutil
import signal
import stat
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.daemons import environment
from tests.fake_buildkitd.helpers import write_tree

ROOT = Path(__file__).parents[2]
NOBODY = 65534
DOCKERFILE = """\
FROM scratch AS one
ADD archive.tar /
COPY --chown=5:6 setid fifo /owned/
FROM scratch
COPY --from=one / /
COPY --from=one --chown=9:10 /dev /dev2
"""


class User:
    """Runs our programs as an unprivileged user, in a folder of that user's.

    Args:
        folder: the user's home.
        uid: the user, None for the one of the tests.
    """

    def __init__(self, folder: Path, uid: int | None) -> None:
        self.folder = folder
        self._uid = uid
        self.python = sys.executable
        self.uid = uid if uid is not None else os.geteuid()

    def start(self, *words: str) -> subprocess.Popen[bytes]:
        """Start Python with some arguments."""
        env = environment({"HOME": str(self.folder), "PYTHONDONTWRITEBYTECODE": "1"})
        env.pop("XDG_CACHE_HOME", None)
        env["PYTHONPATH"] += f":{sysconfig.get_path('purelib')}"
        groups: list[int] | None = [] if self._uid is not None else None
        return subprocess.Popen(
            [self.python, *words],
            cwd=self.folder,
            env=env,
            user=self._uid,
            group=self._uid,
            extra_groups=groups,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def can_use(self, python: str) -> bool:
        """Whether the user can run our programs with that Python; it is then the one to use."""
        self.python = python
        try:
            process = self.start("-c", "import google.protobuf.message, pybuildkit.solver.pb.ops_pb2")
        except OSError:
            return False
        process.communicate(timeout=60)
        return process.returncode == 0

    def build(self, addr: str, source: Path, output: str) -> subprocess.CompletedProcess[str]:
        """Build a Dockerfile with the command."""
        argv = ["-m", "pybuildkit.cmd.buildctl", "--addr", addr, "build", "--frontend=dockerfile.v0"]
        argv += ["--local", f"context={source}", "--local", f"dockerfile={source}", "--progress=plain"]
        process = self.start(*argv, "--output", output)
        stdout, stderr = process.communicate(timeout=60)
        return subprocess.CompletedProcess(argv, process.returncode, stdout.decode(), stderr.decode())

    def own(self) -> None:
        """Give the user everything in the folder."""
        if self._uid is not None:
            for path in [self.folder, *self.folder.rglob("*")]:
                mode = path.lstat().st_mode
                os.chown(path, self._uid, self._uid, follow_symlinks=False)
                if not stat.S_ISLNK(mode):
                    path.chmod(stat.S_IMODE(mode))  # a change of the owner takes set-id bits away


@pytest.fixture
def user() -> Iterator[User]:
    folder = Path(tempfile.mkdtemp(dir="/tmp"))  # pytest's own folders are closed to other users
    try:
        user = User(folder, NOBODY if os.geteuid() == 0 else None)
        user.own()
        if not any(user.can_use(python) for python in (sys.executable, "/usr/bin/python3")):
            pytest.skip("no Python that other users can run has what pybuildkit needs")
        yield user
    finally:
        shutil.rmtree(folder)


def archive() -> bytes:
    """An archive with what only root may make."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        for name, kind, mode in (
            ("dev", tarfile.DIRTYPE, 0o1777),
            ("dev/null", tarfile.CHRTYPE, 0o666),
            ("dev/disk", tarfile.BLKTYPE, 0o640),
            ("sgid", tarfile.REGTYPE, 0o2755),
        ):
            info = tarfile.TarInfo(name)
            info.type, info.mode, info.uid, info.gid = kind, mode, 7, 8
            info.devmajor, info.devminor = (1, 3) if kind == tarfile.CHRTYPE else (8, 1)
            tar.addfile(info)
    return data.getvalue()


def special_context(user: User) -> Path:
    """A context with an archive, a set-id file and a FIFO."""
    source = write_tree(user.folder / "src", {"Dockerfile": DOCKERFILE, "setid": ("f4755", "x")})
    (source / "archive.tar").write_bytes(archive())
    os.mkfifo(source / "fifo")
    (source / "fifo").chmod(0o620)
    user.own()
    return source


WANT: dict[str, tuple[bytes, int, int, int, int, int]] = {
    "dev": (tarfile.DIRTYPE, 0o1777, 7, 8, 0, 0),
    "dev/null": (tarfile.CHRTYPE, 0o666, 7, 8, 1, 3),
    "dev/disk": (tarfile.BLKTYPE, 0o640, 7, 8, 8, 1),
    "sgid": (tarfile.REGTYPE, 0o2755, 7, 8, 0, 0),
    "owned": (tarfile.DIRTYPE, 0o755, 5, 6, 0, 0),
    "owned/setid": (tarfile.REGTYPE, 0o4755, 5, 6, 0, 0),
    "owned/fifo": (tarfile.FIFOTYPE, 0o620, 5, 6, 0, 0),
    "dev2": (tarfile.DIRTYPE, 0o755, 9, 10, 0, 0),
    "dev2/null": (tarfile.CHRTYPE, 0o666, 9, 10, 1, 3),
    "dev2/disk": (tarfile.BLKTYPE, 0o640, 9, 10, 8, 1),
}


def test_demo(user: User) -> None:
    demo = ROOT / "examples" / "demo"
    for number in range(2):
        done = user.build("embedded://", demo, f"type=local,dest=out{number}")
        assert done.returncode == 0, done.stderr
        assert ("CACHED" in done.stderr) == (number == 1)
        page = user.folder / f"out{number}" / "site" / "index.html"
        read, failure = user.start("-c", f"print(open({str(page)!r}).read())").communicate(timeout=60)
        assert b"BuildKit session" in read, failure
        assert page.stat().st_uid == user.uid
    state = (user.folder / ".cache" / "pybuildkit").stat()
    assert (state.st_uid, stat.S_IMODE(state.st_mode)) == (user.uid, 0o700)


def test_owners_devices_and_modes(user: User) -> None:
    source = special_context(user)
    path = user.folder / "s.sock"
    daemon = user.start("-m", "fake_buildkitd", "--addr", f"unix://{path}", "--root", str(user.folder / "state"))
    with daemon:
        try:
            assert daemon.stderr is not None
            assert b"listens on" in daemon.stderr.readline()
            assert (path.stat().st_uid, stat.S_IMODE(path.stat().st_mode)) == (user.uid, 0o600)
            tar = user.build(f"unix://{path}", source, f"type=tar,dest={user.folder}/out.tar")
            local = user.build(f"unix://{path}", source, f"type=local,dest={user.folder}/out")
        finally:
            daemon.send_signal(signal.SIGTERM)
        assert daemon.wait(20) == 0
    assert tar.returncode == 0, tar.stderr
    with tarfile.open(user.folder / "out.tar") as found:
        members = {
            info.name: (info.type, info.mode, info.uid, info.gid, info.devmajor, info.devminor) for info in found
        }
    assert members == WANT
    assert local.returncode == 1
    assert "dev" in local.stderr.splitlines()[-1], "a device is no file that an export may make"


def test_special_modes_on_the_disk(user: User) -> None:
    source = special_context(user)
    (source / "Dockerfile").write_text("FROM scratch\nCOPY --chown=5:6 setid fifo /\n")
    done = user.build("embedded://", source, f"type=local,dest={user.folder}/out")
    assert done.returncode == 0, done.stderr
    modes = {path.name: path.stat() for path in (user.folder / "out").iterdir()}
    assert {name: info.st_mode for name, info in modes.items()} == {
        "setid": stat.S_IFREG | 0o4755,
        "fifo": stat.S_IFIFO | 0o620,
    }
    assert {info.st_uid for info in modes.values()} == {user.uid}
