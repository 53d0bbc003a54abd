"""The daemon in the client's own process."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

from fake_buildkitd import embedded
from fake_buildkitd.store import DiskStore, StoreError
from pybuildkit.client._client import new, with_dial_timeout
from pybuildkit.golang import context
from pybuildkit.golang.errors import BuildkitError
from tests.fake_buildkitd.helpers import build_dockerfile, tree_on_disk, write_tree

FILES = {"Dockerfile": "FROM scratch\nCOPY f /\n", "f": "1"}
STEP = "[1/1] COPY f /"


def threads() -> list[str]:
    """The daemons' threads."""
    return [thread.name for thread in threading.enumerate() if thread.name == "embedded-buildkitd"]


async def test_build(tmp_path: Path) -> None:
    files = write_tree(tmp_path / "src", FILES)
    for cached in (set(), {STEP}):
        async with await new(context.background(), f"embedded://{tmp_path}/state") as client:
            built = await build_dockerfile(client, files, tmp_path / "out")
        assert built.error is None
        assert built.cached() == cached
        assert tree_on_disk(tmp_path / "out") == {"f": ("f644", "1")}
        assert not threads()


async def test_clients_share_a_daemon(tmp_path: Path) -> None:
    files = write_tree(tmp_path / "src", FILES)
    address = f"embedded://{tmp_path}/state"
    async with await new(context.background(), address) as one, await new(context.background(), address) as two:
        both = [build_dockerfile(client, files, None) for client in (one, two)]
        assert [built.error for built in await asyncio.gather(*both)] == [None, None]
        assert len(threads()) == 1
    assert not threads()


def test_default_state(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert embedded.state_folder() == f"{tmp_path}/pybuildkit"
    monkeypatch.setenv("HOME", "/home/x")
    for ignored in ("", "relative"):
        monkeypatch.setenv("XDG_CACHE_HOME", ignored)
        assert embedded.state_folder() == "/home/x/.cache/pybuildkit"


def test_state_in_use(tmp_path: Path) -> None:
    store = DiskStore(str(tmp_path / "state"))
    try:
        with pytest.raises(StoreError, match="is used by another process"):
            embedded.connect(str(tmp_path / "state"), timeout=0.05)
    finally:
        store.close()


async def test_client_is_told_who_uses_the_state(tmp_path: Path) -> None:
    store = DiskStore(str(tmp_path / "state"))
    try:
        ctx = context.background()
        async with await new(ctx, f"embedded://{tmp_path}/state", with_dial_timeout(0.4)) as client:
            with pytest.raises(BuildkitError, match=r"the daemon's state in .*/state is used by another process"):
                await client.list_workers(ctx)
    finally:
        store.close()


def test_unusable_state(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="Not a directory"):
        embedded.connect(str(tmp_path / "file" / "state"))
    assert not threads()
