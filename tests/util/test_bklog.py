"""Log entries and where they go."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping

import pytest

from pybuildkit.golang import context
from pybuildkit.util import bklog


@pytest.fixture
def entries() -> Iterator[list[tuple[int, str, dict[str, object]]]]:
    found: list[tuple[int, str, dict[str, object]]] = []

    def sink(level: int, message: str, fields: Mapping[str, object]) -> None:
        found.append((level, message, dict(fields)))

    bklog.set_sink(sink)
    yield found
    bklog.set_sink(None)
    bklog.set_level(bklog.INFO)


def test_levels_and_fields(entries: list[tuple[int, str, dict[str, object]]]) -> None:
    logger = bklog.L.with_fields(a=1).with_fields(b="x")
    logger.debug("dropped")
    logger.info("one")
    bklog.set_level(bklog.DEBUG)
    logger.debug("two")
    bklog.L.warning("three")
    bklog.L.error("four")
    assert entries == [
        (bklog.INFO, "one", {"a": 1, "b": "x"}),
        (bklog.DEBUG, "two", {"a": 1, "b": "x"}),
        (bklog.WARNING, "three", {}),
        (bklog.ERROR, "four", {}),
    ]


def test_without_a_sink_the_standard_library_decides(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="pybuildkit"):
        bklog.L.with_fields(b=2, a=1).warning("text %s")
    assert [(record.name, record.getMessage()) for record in caplog.records] == [("pybuildkit", "text %s a=1 b=2")]


def test_a_context_carries_a_logger(entries: list[tuple[int, str, dict[str, object]]]) -> None:
    ctx = bklog.with_logger(context.background(), bklog.L.with_fields(build="r"))
    bklog.get_logger(ctx).info("x")
    bklog.get_logger(context.background()).info("y")
    assert entries == [(bklog.INFO, "x", {"build": "r"}), (bklog.INFO, "y", {})]
