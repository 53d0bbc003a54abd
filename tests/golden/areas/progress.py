"""Golden area `progress`: the plain and rawjson displays on a virtual clock, and shifted times."""

from __future__ import annotations

import base64
import os
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

from pybuildkit.client._graph import SolveStatus
from pybuildkit.util.progress._sink import Sink
from pybuildkit.util.progress.progressui._display import Display, PlainView, RawJsonView
from pybuildkit.util.progress.progressui._printer import TextMux
from pybuildkit.util.progress.progressui._trace import Trace
from pybuildkit.util.progress.progresswriter._reset import TimeShift
from tests.golden.virtual import EPOCH, Tape, VirtualClock, in_micros, play, to_micros, to_nanos

ENVIRONMENT = ("PROGRESS_NO_TRUNC", "TTY_DISPLAY_RATE")


def run(cases: list[dict[str, Any]], work: Path) -> Iterator[tuple[str, str | None]]:
    """Give each case to both displays and say what differs."""
    for case in cases:
        yield case["name"], check(case)


def check(case: dict[str, Any]) -> str | None:
    """What is wrong with a case, or None."""
    clean = {name: value for name, value in os.environ.items() if name not in ENVIRONMENT}
    with mock.patch.dict(os.environ, {**clean, **case["env"]}, clear=True):
        return _check_plain(case) or _check_rawjson(case) or _check_resettime(case)


def statuses(case: dict[str, Any]) -> list[tuple[int, SolveStatus]]:
    """The events of a case: nanoseconds from the start, and the status."""
    return [(to_nanos(event["at_ms"]), SolveStatus.from_object(event["status"])) for event in case["events"]]


def _check_plain(case: dict[str, Any]) -> str | None:
    clock = VirtualClock()
    tape = Tape()
    display = Display(PlainView(Sink(tape), Trace(clock), TextMux()), clock)
    chunks = play(display, clock, statuses(case), to_nanos(case["end_ms"]))
    expected = case["expected"]
    got = b"".join(data for _, data in chunks)
    if "plain_one_of" in expected:
        wanted = [_bytes(one["output"]) for one in expected["plain_one_of"]]
        return None if any(_equal(got, one) for one in wanted) else _difference("plain", got, wanted[0])
    want = _bytes(expected["plain"]["output"])
    if got == want:
        wanted_chunks = [(to_micros(chunk["at_ms"]), _bytes(chunk)) for chunk in expected["plain"]["chunks"]]
        return (
            None
            if in_micros(chunks) == wanted_chunks
            else _difference("plain chunks", repr(chunks), repr(wanted_chunks))
        )
    return None if _equal(got, want) else _difference("plain", got, want)


def _equal(got: bytes, want: bytes) -> bool:
    """Equal, or the same but for the order of steps that tie."""
    return got == want or (len(got) == len(want) and _without_order(got) == _without_order(want))


def _without_order(text: bytes) -> Counter[bytes]:
    """The blocks of the output, counted, each with the name of its step in place of its number."""
    names: dict[bytes, bytes] = {}
    blocks: Counter[bytes] = Counter()
    for block in text.split(b"\n\n"):
        head = re.match(rb"(#\d+) (.*)", block)
        if head is not None:
            name = names.setdefault(head[1], b"<%s>" % head[2])
            lines = (line.replace(head[1], name, 1) for line in block.split(b"\n"))
            block = b"\n".join(lines)
        blocks[block] += 1
    return blocks


def _check_rawjson(case: dict[str, Any]) -> str | None:
    clock = VirtualClock()
    tape = Tape()
    display = Display(RawJsonView(Sink(tape)), clock)
    chunks = play(display, clock, statuses(case), to_nanos(case["end_ms"]))
    got = b"".join(data for _, data in chunks)
    want = _bytes(case["expected"]["rawjson"]["output"])
    return None if got == want else _difference("rawjson", got, want)


def _check_resettime(case: dict[str, Any]) -> str | None:
    expected = case["expected"].get("resettime")
    if expected is None:
        return None
    shift = TimeShift(EPOCH)
    lines = [shift.apply(status).to_json() + "\n" for _, status in statuses(case)]
    got = "".join(lines).encode()
    want = _bytes(expected["output"])
    return None if got == want else _difference("resettime", got, want)


def _bytes(entry: dict[str, Any] | str) -> bytes:
    if isinstance(entry, str):
        return entry.encode()
    for key, encoded in (("data_base64", True), ("base64", True), ("data", False), ("text", False)):
        if key in entry:
            value: str = entry[key]
            return base64.b64decode(value) if encoded else value.encode()
    raise KeyError(f"no data in {sorted(entry)}")


def _difference(what: str, got: object, want: object) -> str:
    return f"{what}\n  got  {got!r}\n  want {want!r}"
