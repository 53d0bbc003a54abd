"""The double answers questions about a Dockerfile as BuildKit does: checks, outline, targets, and what can be asked."""

from __future__ import annotations

import json

import pytest

from fake_buildkitd import Daemon
from pybuildkit.client._client import new
from pybuildkit.golang import context
from tests.fake_buildkitd.dockerfiles import Case
from tests.fake_buildkitd.helpers import connected
from tests.fake_buildkitd.questions import CASES, RECORDED, ask, requests

ANSWERS = json.loads(RECORDED.read_text())


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name.replace(" ", "-"))
async def test_as_recorded(case: Case) -> None:
    async with Daemon() as daemon, connected(daemon) as client:
        for request in requests(case):
            assert await ask(client, case, request) == ANSWERS[case.name][request], request


def test_what_is_recorded() -> None:
    assert set(ANSWERS) == {case.name for case in CASES}
    statuses = [answers["frontend.lint"].get("result.statuscode") for answers in ANSWERS.values()]
    assert statuses.count("0") > 1
    assert statuses.count("1") > 10


async def test_targets_with_a_check_of_one_instruction() -> None:
    """Where v0.32.2 itself falls over."""
    case = next(case for case in CASES if case.name == "wrong")
    async with Daemon() as daemon, connected(daemon) as client:
        answer = await ask(client, case, "frontend.targets")
    assert [target["name"] for target in json.loads(answer["result.json"])["targets"]] == ["a", "a"]


async def test_unknown_question() -> None:
    async with Daemon() as daemon, connected(daemon) as client:
        answer = await ask(client, CASES[0], "frontend.convertllb")
    assert answer == {
        "error": "failed to solve: unsupported request frontend.convertllb: unsupported request frontend.convertllb"
    }


async def test_real_daemon(real_addr: str) -> None:
    """A real daemon of today still answers as recorded."""
    async with await new(context.background(), real_addr) as client:
        info = await client.list_workers(context.background())
        if not info or not info[0].buildkit_version.version.startswith("v0.32"):
            pytest.skip(f"{real_addr} is no BuildKit v0.32")
        for case in CASES:
            for request in requests(case):
                assert await ask(client, case, request) == ANSWERS[case.name][request], (case.name, request)
