"""The double says of every mistake in a Dockerfile what BuildKit says, and marks the same lines."""

from __future__ import annotations

import asyncio
import json

import pytest

from fake_buildkitd import Daemon
from tests.fake_buildkitd.helpers import connected
from tests.fake_buildkitd.mistakes import MISTAKES
from tests.fake_buildkitd.twins import RECORDED_MISTAKES, complain

ANSWERS = json.loads(RECORDED_MISTAKES.read_text())
GROUPS = sorted({case.name.partition(": ")[0] for case in MISTAKES})


@pytest.mark.parametrize("group", GROUPS)
async def test_as_recorded(group: str) -> None:
    async with Daemon() as daemon, connected(daemon) as client:
        for case in MISTAKES:
            if case.name.startswith(group + ": "):
                said = await asyncio.wait_for(complain(client, case), 30)
                assert said == ANSWERS[case.name], case.name


def test_every_mistake_is_recorded() -> None:
    assert set(ANSWERS) == {case.name for case in MISTAKES}
    assert sum("error" in answer for answer in ANSWERS.values()) > 150
