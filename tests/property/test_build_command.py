"""Properties of the build command under a daemon that does anything, on virtual time.

    it always ends · the exit code and the printed error are the first error's · every status that arrived is shown
    and traced before it ends · no task, descriptor or temporary file is left

`scenes` draws what happens and knows which error is the first. PYBUILDKIT_EXAMPLES says how many scenes are played.
"""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings

from fake_buildkitd.faults import FaultKind
from tests.property import scenes
from tests.property.command import Seen, Stage, play
from tests.property.scenes import HANG, LIST, PLAIN, WRITE_SECONDS, Act, Journal, Player, Scene, Trouble, Verdict, judge

_EXAMPLES = int(os.environ.get("PYBUILDKIT_EXAMPLES", "250"))
_END_SECONDS = 8.0
"""How long after its first error a build may still wait for its calls to end."""
_SIGNAL_SECONDS = 1.0
MANY = (Act("status", 1), *[Act("status", 0)] * 200)
"""More than a channel holds."""


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder = tmp_path_factory.mktemp("property")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(folder))
        patch.setenv("TTY_DISPLAY_RATE", "1000")
        for name in ("DOCKER_CONFIG", "BUILDKIT_PROGRESS", "SOURCE_DATE_EPOCH", "PROGRESS_NO_TRUNC"):
            patch.delenv(name, raising=False)
        yield Stage(folder / "work")


def _argv(scene: Scene, stage: Stage) -> list[str]:
    argv = ["--frontend", "x", "--progress", scene.progress]
    argv += ["--ref-file", stage.path("ref"), "--metadata-file", stage.path("metadata")]
    if scene.output != "none":
        dest = stage.path("out.tar") if scene.output == "file" else "/dev/full"
        argv += ["--output", f"type=tar,dest={dest}"]
    traces = {"pipe": "{trace}", "file": stage.path("trace"), "full": "/dev/full", "none": ""}
    return [*argv, "--trace", traces[scene.trace]]


@settings(
    max_examples=_EXAMPLES, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)
@given(scene=scenes.scenes)
@example(scene=replace(PLAIN, end="fail", late_end="fail", session_seconds=9.0))
@example(scene=replace(PLAIN, signal=(signal.SIGINT, 4), end="hang", late_end="fail", session_seconds=9.0))
@example(scene=replace(PLAIN, signal=(signal.SIGHUP, 1), late=(1,), late_end="fail"))
@example(scene=replace(PLAIN, late=(1, 2, 3), late_end="hang"))
@example(scene=replace(PLAIN, acts=(Act("status", 0),), end_after=0, write_seconds=(0.0, WRITE_SECONDS)))
@example(scene=replace(PLAIN, acts=(Act("status", 0),), end_after=0, write_seconds=(WRITE_SECONDS, 0.0)))
@example(scene=replace(PLAIN, acts=(Act("status", 0), *MANY, Act("status", 1)), trace="full"))
@example(scene=replace(PLAIN, acts=(Act("status", 0), Act("status", 1), *MANY, Act("status", 1)), deaf=1, trace="file"))
@example(scene=replace(PLAIN, calls={LIST: Trouble(0, HANG)}, loss=(FaultKind.SILENCE, 1)))
@example(scene=replace(PLAIN, output="file"))
@example(scene=replace(PLAIN, output="full", acts=(Act("blind export", 0),)))
@example(scene=replace(PLAIN, output="full", acts=(Act("blind export", 0),), end="fail"))
@example(scene=replace(PLAIN, output="full", acts=(Act("blind export", 0),), end="hang", signal=(signal.SIGINT, 6)))
def test_a_build_under_any_daemon(stage: Stage, scene: Scene) -> None:
    player = Player(scene)
    with stage:
        seen = play(_argv(scene, stage), player.script(), scene.actions(), write_seconds=scene.write_seconds)
        verdict = judge(scene, player.journal, seen)
        _check_outcome(seen, verdict)
        _check_time(seen, verdict, player.journal)
        _check_statuses(scene, seen, verdict, player.journal, stage)
        _check_left(scene, seen, stage)


def _check_outcome(seen: Seen, verdict: Verdict) -> None:
    assert "Traceback" not in seen.stderr
    if seen.deaf is not None:
        assert seen.code == 1
        return
    assert seen.code == (0 if verdict.when is None else 1)
    if not seen.is_read:
        return
    if verdict.when is None:
        assert seen.error == ""
    else:
        assert verdict.fits(seen.error), (seen.error, verdict)


def _check_time(seen: Seen, verdict: Verdict, journal: Journal) -> None:
    if seen.signalled is not None:
        assert seen.seconds <= seen.signalled + _SIGNAL_SECONDS + seen.writing
    if seen.deaf is None:
        assert seen.seconds >= verdict.earliest - 1e-6
    if seen.deaf is not None:
        assert seen.seconds <= seen.deaf + _END_SECONDS + seen.writing
    elif verdict.when is None:
        assert seen.seconds <= journal.times["answered"] + scenes.STATUS_SECONDS + seen.writing
    else:
        assert verdict.when <= seen.seconds <= verdict.when + _END_SECONDS + seen.writing


def _check_statuses(scene: Scene, seen: Seen, verdict: Verdict, journal: Journal, stage: Stage) -> None:
    assert seen.arrived == [scenes.status(number) for number in range(1, len(seen.arrived) + 1)]
    ends = [when for when in (seen.deaf, seen.lost, seen.seconds) if when is not None]
    ends += [when + scenes.STATUS_SECONDS for when in (verdict.when, journal.times.get("answered")) if when is not None]
    if seen.signalled is not None:
        ends.append(seen.signalled + scenes.GIVE_UP_SECONDS)
    assert len(seen.arrived) >= len(journal.must_have_arrived(min(ends)))
    numbers = [str(number) for number in range(1, len(seen.arrived) + 1)]
    _check_display(scene, seen, numbers)
    _check_trace(scene, seen, numbers, stage)


def _check_display(scene: Scene, seen: Seen, numbers: list[str]) -> None:
    if not seen.is_read:
        return
    if scene.progress == "quiet":
        assert "step" not in seen.stderr
    elif scene.progress == "rawjson":
        lines = [line for line in seen.stderr.splitlines() if line.startswith('{"vertexes"')]
        assert _numbers(lines) == numbers
    else:
        assert sorted(set(re.findall(r"step (\d+)\.", seen.stderr))) == sorted(numbers)
        assert sorted(re.findall(r"line (\d+)\.", seen.stderr)) == sorted(numbers)


def _check_trace(scene: Scene, seen: Seen, numbers: list[str], stage: Stage) -> None:
    match scene.trace:
        case "pipe":
            assert _numbers(seen.trace.splitlines()) == numbers
        case "file":
            assert _numbers(Path(stage.path("trace")).read_text().splitlines()) == numbers
        case "full" if seen.is_read:
            failures = seen.stderr.count("failed to write /dev/full: no space left on device")
            assert failures == min(len(numbers), 1), "a disk that is full is told of once"


def _numbers(lines: list[str]) -> list[str]:
    """The numbers of the steps that lines of JSON tell of."""
    return [json.loads(line)["vertexes"][0]["name"].removeprefix("step ").removesuffix(".") for line in lines]


def _check_left(scene: Scene, seen: Seen, stage: Stage) -> None:
    assert seen.tasks == []
    assert seen.descriptors == {}
    files = {"ref"}
    if scene.trace == "file":
        files.add("trace")
    if (seen.code == 0 and scene.response) or (seen.deaf is not None and "metadata" in stage.files()):
        files.add("metadata")
        assert json.loads(Path(stage.path("metadata")).read_text()) == scene.response
    if "out.tar" in stage.files():
        files.add("out.tar")
        assert Path(stage.path("out.tar")).read_bytes() == scenes.TAR, "half an export"
    elif seen.code == 0:
        assert scene.output != "file"
    assert stage.files() == files
    assert re.fullmatch(r"[0-9a-z]{25}", Path(stage.path("ref")).read_text())
