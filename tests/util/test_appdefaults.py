"""Default addresses and folders."""

from __future__ import annotations

import pytest

from pybuildkit.util import appdefaults


@pytest.mark.parametrize(
    ("runtime_dir", "address"),
    [
        ("", "unix:///run/buildkit/buildkitd.sock"),
        ("/run/user/1000", "unix:///run/user/1000/buildkit/buildkitd.sock"),
        ("/a:/b", "unix:///a/buildkit/buildkitd.sock"),
    ],
)
def test_user_address(monkeypatch: pytest.MonkeyPatch, runtime_dir: str, address: str) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", runtime_dir)
    assert appdefaults.user_address() == address


@pytest.mark.parametrize(
    ("data_home", "home", "root"),
    [
        ("/data:/more", "/home/u", "/data/buildkit"),
        ("", "/home/u", "/home/u/.local/share/buildkit"),
        ("", "", "/var/lib/buildkit"),
    ],
)
def test_user_root(monkeypatch: pytest.MonkeyPatch, data_home: str, home: str, root: str) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", data_home)
    monkeypatch.setenv("HOME", home)
    assert appdefaults.user_root() == root
