"""The file of token seeds."""

from __future__ import annotations

import base64
import errno
import fcntl
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from pybuildkit.session.auth.authprovider._tokenseed import TokenSeeds
from pybuildkit.util import bklog
from tests.session.unprivileged import unprivileged


def stored(folder: Path) -> dict[str, bytes]:
    document = json.loads((folder / ".token_seed").read_text())
    return {host: base64.b64decode(entry["Seed"]) for host, entry in document.items()}


def test_kept_for_each_host(tmp_path: Path) -> None:
    folder = tmp_path / "made"
    seeds = {host: TokenSeeds(str(folder)).get_seed(host) for host in ("a", "b", "a")}
    assert stored(folder) == seeds
    assert {len(seed) for seed in seeds.values()} == {16}
    assert seeds["a"] != seeds["b"]
    assert {path.name for path in folder.iterdir()} == {".token_seed", ".token_seed.lock"}
    assert (folder / ".token_seed").stat().st_mode & 0o777 == 0o600


def test_new_file_is_for_the_user_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        TokenSeeds(str(tmp_path)).get_seed("a")
    finally:
        os.umask(before)
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    assert modes == {".token_seed": 0o600, ".token_seed.lock": 0o600}


def test_file_that_others_may_read_is_closed(tmp_path: Path) -> None:
    seed = TokenSeeds(str(tmp_path)).get_seed("a")
    (tmp_path / ".token_seed").chmod(0o644)
    assert TokenSeeds(str(tmp_path)).get_seed("a") == seed
    assert (tmp_path / ".token_seed").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "content",
    [
        *("", "{", "[]", "null", "[" * 100_000),
        *('{"a": {"Seed": "!"}}', '{"a": 1}', '{"a": null}', '{"b": {"Seed": "AAAA"}}'),
        *('{"a": {}}', '{"a": {"Seed": null}}', '{"a": {"Seed": ""}}', '{"a": {"Seed": 1}, "b": {"Seed": "AAAA"}}'),
    ],
)
def test_damaged_file_is_made_anew(content: str, tmp_path: Path) -> None:
    (tmp_path / ".token_seed").write_text(content)
    seed = TokenSeeds(str(tmp_path)).get_seed("a")
    assert stored(tmp_path)["a"] == seed
    assert ("b" in stored(tmp_path)) == ('"b"' in content)


def test_file_of_another_user_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[str] = []
    monkeypatch.setattr(bklog, "_sink", lambda level, message, fields: lines.append(message))
    path = tmp_path / ".token_seed"
    path.write_text('{"a": {"Seed": "AAAA"}}')
    path.chmod(0o666)
    if os.geteuid() == 0:
        os.chown(path, 12345, 12345)
    else:  # who cannot give a file away is another one himself
        me = os.geteuid()
        monkeypatch.setattr(os, "geteuid", lambda: me + 1)
    seeds = TokenSeeds(str(tmp_path))
    assert seeds.get_seed("a") == seeds.get_seed("a") != base64.b64decode("AAAA")
    assert path.read_text() == '{"a": {"Seed": "AAAA"}}'
    assert "does not belong to this user" in lines[0]


def test_entry_without_a_seed_makes_a_new_one(tmp_path: Path) -> None:
    """Not the same one for everybody."""
    seeds = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / ".token_seed").write_text('{"a": {}}')
        seeds.append(TokenSeeds(str(tmp_path / name)).get_seed("a"))
    assert [len(seed) for seed in seeds] == [16, 16]
    assert seeds[0] != seeds[1]


def test_name_of_a_seed_whatever_its_case(tmp_path: Path) -> None:
    (tmp_path / ".token_seed").write_text('{"a": {"seed": "AAAA"}}')
    assert TokenSeeds(str(tmp_path)).get_seed("a") == bytes(3)


@pytest.mark.parametrize("name", [".token_seed", ".token_seed.lock"])
def test_what_fails_otherwise_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    opened = os.open

    def failing(path: str, *args: int) -> int:
        if path.endswith(name):
            raise OSError(errno.EIO, "Input/output error", path)
        return opened(path, *args)

    monkeypatch.setattr(os, "open", failing)
    seeds = TokenSeeds(str(tmp_path))
    if name == ".token_seed":  # a file that cannot be read is not written to either
        assert seeds.get_seed("a") == seeds.get_seed("a")
        assert not (tmp_path / name).exists()
    else:
        with pytest.raises(OSError, match="Input/output error"):
            seeds.get_seed("a")


def test_no_descriptor_is_left(tmp_path: Path) -> None:
    seeds = TokenSeeds(str(tmp_path))
    seeds.get_seed("a")
    before = len(os.listdir("/dev/fd"))
    for host in ("a", "b", "c"):
        seeds.get_seed(host)
    assert len(os.listdir("/dev/fd")) == before


def test_what_is_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder in the file's place, a file in the folder's place: the seed lasts as long as the process."""
    lines: list[str] = []
    monkeypatch.setattr(bklog, "_sink", lambda level, message, fields: lines.append(message))
    (tmp_path / ".token_seed").mkdir()
    (tmp_path / "file").write_text("kept")
    (tmp_path / "loop").symlink_to("loop")
    for folder in (tmp_path, tmp_path / "file", tmp_path / "file/below", tmp_path / "loop"):
        seeds = TokenSeeds(str(folder))
        assert seeds.get_seed("a") == seeds.get_seed("a")
    assert set(lines) == {f"token seeds are not kept: {tmp_path}/.token_seed is no regular file"}
    assert (tmp_path / "file").read_text() == "kept"


def test_symlink_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "target").write_text('{"a": {"Seed": "AAAA"}}')
    (tmp_path / ".token_seed").symlink_to("target")
    assert TokenSeeds(str(tmp_path)).get_seed("a") != base64.b64decode("AAAA")
    assert (tmp_path / "target").read_text() == '{"a": {"Seed": "AAAA"}}'


def test_folder_that_cannot_be_written() -> None:
    with unprivileged() as folder:
        folder.chmod(0o500)
        for place in (folder, folder / "below"):
            seeds = TokenSeeds(str(place))
            assert seeds.get_seed("a") == seeds.get_seed("a")
        folder.chmod(0o700)
        assert list(folder.iterdir()) == []


def test_lock_that_is_held_is_waited_for_a_while(tmp_path: Path) -> None:
    with (tmp_path / ".token_seed.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        seed = TokenSeeds(str(tmp_path), lock_seconds=0.05).get_seed("a")
    assert stored(tmp_path) == {"a": seed}


PROCESS = """
import sys
from pybuildkit.session.auth.authprovider._tokenseed import TokenSeeds
seeds = TokenSeeds(sys.argv[1])
sys.stdin.read()
print(*(seeds.get_seed(host).hex() for host in sys.argv[2:]))
"""


def test_processes_at_once_agree(tmp_path: Path) -> None:
    """Each makes a seed of its own beside those that all want; none is lost, whoever comes first."""
    shared = [f"shared-{number}" for number in range(5)]
    hosts = [[*shared, f"own-{number}"] for number in range(4)]
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", PROCESS, str(tmp_path), *each], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        for each in hosts
    ]
    for process in processes:
        assert process.stdin is not None
        process.stdin.close()  # all of them are let go at nearly the same time
    answers = []
    for process in processes:
        assert process.stdout is not None
        answers.append(process.stdout.read().decode().split())
        process.stdout.close()
        assert process.wait() == 0
    assert {tuple(answer[:5]) for answer in answers} == {tuple(answers[0][:5])}
    wanted = dict(zip(shared, answers[0], strict=False)) | {
        each[5]: answer[5] for each, answer in zip(hosts, answers, strict=True)
    }
    assert {host: seed.hex() for host, seed in stored(tmp_path).items()} == wanted
    assert {path.name for path in tmp_path.iterdir()} == {".token_seed", ".token_seed.lock"}


def test_nobody_reads_or_writes_without_the_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flock, refused = fcntl.flock, threading.Event()

    def watched(fd: int, operation: int) -> None:
        try:
            flock(fd, operation)
        except BlockingIOError:
            refused.set()
            raise

    monkeypatch.setattr(fcntl, "flock", watched)
    (tmp_path / ".token_seed").write_text("{}")
    with (tmp_path / ".token_seed.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        made: list[bytes] = []
        thread = threading.Thread(target=lambda: made.append(TokenSeeds(str(tmp_path), lock_seconds=60).get_seed("a")))
        thread.start()
        assert refused.wait(30)
        (tmp_path / ".token_seed").write_text('{"a": {"Seed": "AAAA"}}')
        fcntl.flock(lock, fcntl.LOCK_UN)
    thread.join()
    assert made == [base64.b64decode("AAAA")]
