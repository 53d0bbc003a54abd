"""Fixtures of the daemon's tests."""

from __future__ import annotations

import socket
from typing import Any

import pytest

_LOCAL = ("127.", "::1", "localhost")


@pytest.fixture(autouse=True)
def no_names_of_other_machines(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hosts elsewhere are unknown at once, whatever resolver the machine has."""
    lookup = socket.getaddrinfo

    def local_only(host: Any, *rest: Any, **more: Any) -> Any:
        if host is None or str(host).startswith(_LOCAL):
            return lookup(host, *rest, **more)
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", local_only)
