"""The double makes of every Dockerfile what BuildKit makes of it."""

from __future__ import annotations

import json

import pytest

from fake_buildkitd import Daemon
from pybuildkit.client._client import new
from pybuildkit.golang import context
from tests.fake_buildkitd.dockerfiles import CASES, Case
from tests.fake_buildkitd.helpers import connected
from tests.fake_buildkitd.twins import RECORDED, observe

ANSWERS = json.loads(RECORDED.read_text())


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name.replace(" ", "-"))
async def test_as_recorded(case: Case) -> None:
    async with Daemon() as daemon, connected(daemon) as client:
        assert await observe(client, case) == ANSWERS[case.name]


async def test_real_daemon(real_addr: str) -> None:
    """A real daemon of today still answers as recorded (BuildKit v0.32 and later words its answers so)."""
    async with await new(context.background(), real_addr) as client:
        info = await client.list_workers(context.background())
        if not info or not info[0].buildkit_version.version.startswith("v0.32"):
            pytest.skip(f"{real_addr} is no BuildKit v0.32")
        for case in CASES:
            assert await observe(client, case) == ANSWERS[case.name], case.name
