"""Secrets from files and variables."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from pybuildkit.golang import context
from pybuildkit.golang.errors import BuildkitError, error_text
from pybuildkit.session.secrets import SecretNotFoundError
from pybuildkit.session.secrets.secretsprovider import MAX_SECRET_SIZE, SecretReadError, Source, new_store
from pybuildkit.util import bklog

BG = context.background()


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    lines: list[str] = []
    monkeypatch.setattr(bklog, "_sink", lambda level, message, fields: lines.append(message))
    return lines


async def test_file_env_and_guesses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "f").write_bytes(b"from file")
    (tmp_path / "NAMED").write_bytes(b"file of that name")
    monkeypatch.setenv("SECRET_VAR", "from env")
    store = new_store(
        [
            Source(id="file", file_path="f"),
            Source(id="env", env="SECRET_VAR"),
            Source(id="both", env="SECRET_VAR", file_path="f"),
            Source(id="SECRET_VAR"),
            Source(id="NAMED"),
        ]
    )
    wanted = {
        "file": b"from file",
        "env": b"from env",
        "both": b"from env",
        "SECRET_VAR": b"from env",
        "NAMED": b"file of that name",
    }
    assert {name: await store.get_secret(BG, name) for name in wanted} == wanted
    with pytest.raises(SecretNotFoundError):
        await store.get_secret(BG, "other")


async def test_value_of_a_variable_is_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environb, b"RAW", b"\xff\x01")
    assert await new_store([Source(id="r", env="RAW")]).get_secret(BG, "r") == b"\xff\x01"


@pytest.mark.parametrize(
    ("source", "text"),
    [
        (Source(file_path="f"), "secret missing ID"),
        (Source(id="s", file_path="missing"), "failed to stat missing: stat missing: no such file or directory"),
        (Source(id="s", file_path="a\0b"), "failed to stat a\0b: stat a\0b: invalid argument"),
        (Source(id="big", file_path="big"), "secret big too big. max size 500KiB"),
    ],
)
def test_refused_at_start(source: Source, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "big").write_bytes(bytes(MAX_SECRET_SIZE + 1))
    with pytest.raises(BuildkitError) as caught:
        new_store([source])
    assert error_text(caught.value) == text


async def test_largest_secret(tmp_path: Path) -> None:
    path = tmp_path / "s"
    path.write_bytes(bytes(MAX_SECRET_SIZE))
    assert len(await new_store([Source(id="s", file_path=str(path))]).get_secret(BG, "s")) == MAX_SECRET_SIZE


async def test_file_that_grew_since_the_start(tmp_path: Path) -> None:
    path = tmp_path / "s"
    path.write_bytes(b"small")
    store = new_store([Source(id="s", file_path=str(path))])
    path.write_bytes(bytes(MAX_SECRET_SIZE + 1))
    with pytest.raises(SecretReadError) as caught:
        await store.get_secret(BG, "s")
    assert str(caught.value) == f"invalid secret size {MAX_SECRET_SIZE + 1}"


async def test_unset_variable_is_empty_and_warned_of(logged: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOT_SET", raising=False)
    store = new_store([Source(id="s", env="NOT_SET")])
    assert await store.get_secret(BG, "s") == b""
    assert len(logged) == 1
    assert "NOT_SET" in logged[0]


async def test_endless_device_ends() -> None:
    with pytest.raises(SecretReadError, match="too big"):
        await new_store([Source(id="z", file_path="/dev/zero")]).get_secret(BG, "z")


async def test_pipe_without_writer_ends(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    store = new_store([Source(id="p", file_path=str(pipe))], patience=0.05)
    with pytest.raises(SecretReadError, match="did not come to its end in time"):
        await store.get_secret(BG, "p")


async def test_pipe_whose_writer_stalls_ends(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    keep = os.open(pipe, os.O_RDWR)
    try:
        os.write(keep, b"half")
        store = new_store([Source(id="p", file_path=str(pipe))], patience=0.05)
        with pytest.raises(SecretReadError, match="did not come to its end in time") as caught:
            await store.get_secret(BG, "p")
        assert "half" not in str(caught.value)
    finally:
        os.close(keep)


async def test_pipe_is_read_once_and_given_again(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(b"substituted",))
    writer.start()
    store = new_store([Source(id="p", file_path=str(pipe))])
    assert await store.get_secret(BG, "p") == b"substituted"
    assert await store.get_secret(BG, "p") == b"substituted"
    writer.join()


async def test_directory(tmp_path: Path) -> None:
    store = new_store([Source(id="d", file_path=str(tmp_path))])
    with pytest.raises(SecretReadError) as caught:
        await store.get_secret(BG, "d")
    assert str(caught.value) == f"read {tmp_path}: is a directory"
