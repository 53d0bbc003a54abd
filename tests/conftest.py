"""Fixtures shared by all tests."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import pytest

from tests.daemons import EMBEDDED, real_addresses


def pytest_configure(config: pytest.Config) -> None:
    """Programs that tests start take SIGHUP as usual, also where the tests run under nohup, which ignores it."""
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        signal.signal(signal.SIGHUP, lambda number, frame: None)  # a handler, unlike its absence, is not inherited


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that asks for `addr` runs on every real daemon and on the embedded one; `real_addr` on real ones."""
    if "addr" in metafunc.fixturenames:
        metafunc.parametrize("addr", [EMBEDDED, *_real()])
    if "real_addr" in metafunc.fixturenames:
        metafunc.parametrize("real_addr", _real())


def _real() -> list[object]:
    marked: list[object] = [pytest.param(addr, marks=pytest.mark.daemon) for addr in real_addresses()]
    if marked:
        return marked
    if os.environ.get("PYBUILDKIT_REQUIRE_DAEMON") == "1":
        raise pytest.UsageError("PYBUILDKIT_REQUIRE_DAEMON=1, but PYBUILDKIT_TEST_ADDRS names no daemon")
    skip = pytest.mark.skip(reason="PYBUILDKIT_TEST_ADDRS names no real daemon")
    return [pytest.param("none", marks=[pytest.mark.daemon, skip])]


@pytest.fixture
def busybox() -> Path:
    """A static busybox."""
    found = shutil.which("busybox")
    if found is None:
        pytest.skip("no busybox (Debian package busybox-static)")
    return Path(found)
