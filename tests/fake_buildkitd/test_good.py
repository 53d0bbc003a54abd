"""Dockerfiles without mistakes: the double and real daemons make the same trees, steps and images of them."""

from __future__ import annotations

import json

import pytest

from fake_buildkitd import Daemon
from pybuildkit.client._client import new
from pybuildkit.golang import context
from tests.fake_buildkitd.dockerfiles import Case
from tests.fake_buildkitd.good import GOOD, NEW
from tests.fake_buildkitd.helpers import connected
from tests.fake_buildkitd.twins import RECORDED_GOOD, Observed, describe_image, observe

ANSWERS: dict[str, Observed] = json.loads(RECORDED_GOOD.read_text())


@pytest.mark.parametrize("case", GOOD, ids=lambda case: case.name.replace(" ", "-"))
async def test_as_recorded(case: Case) -> None:
    async with Daemon() as daemon, connected(daemon) as client:
        assert await describe_image(client, case) == ANSWERS[case.name]


def test_every_one_is_recorded_and_good() -> None:
    assert set(ANSWERS) == {case.name for case in GOOD}
    assert len(ANSWERS) == len(GOOD) > 100
    assert not [name for name, answer in ANSWERS.items() if answer["error"]]
    assert set(ANSWERS) > NEW


async def test_real_daemon(real_addr: str) -> None:
    """A real daemon of today answers as recorded; an old one makes the same trees in the same steps."""
    async with await new(context.background(), real_addr) as client:
        info = await client.list_workers(context.background())
        today = bool(info) and info[0].buildkit_version.version.startswith("v0.32")
        for case in GOOD:
            if today:
                assert await describe_image(client, case) == ANSWERS[case.name], case.name
            elif case.name not in NEW:
                assert _common(await observe(client, case)) == _common(ANSWERS[case.name]), case.name


def _common(observed: Observed) -> Observed:
    """What daemons of every age agree on: not pipes, which old ones do not send, nor names of inner steps."""
    steps, tree = observed["steps"], observed["tree"]
    assert isinstance(steps, list)
    assert isinstance(tree, dict)
    own = ("exporting to ", "[internal] load .dockerignore")
    return {
        "error": observed["error"],
        "steps": [step for step in steps if not step.startswith(own)],
        "tree": {name: entry for name, entry in tree.items() if entry[0] != "6"},
    }
