"""Golden area `progress_tty`: the terminal's display on a virtual clock."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from unittest import mock

from pybuildkit.client._graph import SolveStatus
from pybuildkit.util import bklog
from pybuildkit.util.progress._sink import Sink
from pybuildkit.util.progress.progressui import Display, with_phase
from pybuildkit.util.progress.progressui._display import console_view
from tests.golden.virtual import Tape, VirtualClock, in_micros, play, to_micros, to_nanos

ENVIRONMENT = ("NO_COLOR", "BUILDKIT_COLORS", "BUILDKIT_TTY_LOG_LINES", "TTY_DISPLAY_RATE")


def run(cases: list[dict[str, Any]], work: Path) -> Iterator[tuple[str, str | None]]:
    """Draw each case and say what differs."""
    for case in cases:
        yield case["name"], check(case)


def check(case: dict[str, Any]) -> str | None:
    """What is wrong with a case, or None."""
    warnings: list[str] = []

    def sink(_: int, message: str, fields: Mapping[str, object]) -> None:
        warnings.append(_entry(message, fields))

    clean = {name: value for name, value in os.environ.items() if name not in ENVIRONMENT}
    bklog.set_sink(sink)
    try:
        with mock.patch.dict(os.environ, {**clean, **case["env"]}, clear=True):
            frames = _draw(case)
    finally:
        bklog.set_sink(None)
    expected = [(to_micros(frame["at_ms"]), frame["data"].encode()) for frame in case["frames"]]
    if frames != expected:
        return f"frames\n  got  {frames!r}\n  want {expected!r}"
    # The program that recorded the cases read the environment twice; the command reads it once.
    said = "".join(line + "\n" for line in warnings) * 2
    wanted = case.get("start_stderr", "")
    return None if said.rstrip("\n") == wanted.rstrip("\n") else f"stderr\n  got  {said!r}\n  want {wanted!r}"


def _draw(case: dict[str, Any]) -> list[tuple[int, bytes]]:
    clock = VirtualClock()
    resizes = [(to_nanos(resize["at_ms"]), (resize["w"], resize["h"])) for resize in case.get("resizes", ())]
    width, height = map(int, case["terminal"].split("x"))

    def size() -> tuple[int, int]:
        passed = [size for at, size in resizes if at <= clock.elapsed]
        return passed[-1] if passed else (width, height)

    opts = [with_phase(case["phase"])] if case.get("phase") else []
    display = Display(console_view(Sink(Tape()), clock, size, *opts, clean=False), clock)
    events = [(to_nanos(event["at_ms"]), SolveStatus.from_object(event["status"])) for event in case["events"]]
    return in_micros(play(display, clock, events, to_nanos(case["end_ms"])))


def _entry(message: str, fields: Mapping[str, object]) -> str:
    """A log entry in the text form, with the time taken out."""

    def value(text: str) -> str:
        plain = all(char.isalnum() or char in "-._/@^+" for char in text) and text
        return text if plain else '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'

    suffix = "".join(f" {name}={value(str(fields[name]))}" for name in sorted(fields))
    return f'time="<TIME>" level=warning msg={value(message)}{suffix}'
