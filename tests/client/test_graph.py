"""The status values: their JSON form, byte for byte as Go's, and their messages."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pybuildkit.client._graph import (
    NANOS,
    NIL,
    ZERO_TIME,
    SolveStatus,
    StatusError,
    Vertex,
    VertexLog,
    VertexStatus,
    VertexWarning,
    format_time,
    parse_time,
    quote_json,
)
from pybuildkit.client._status import MAX_LOG_BYTES, marshal, new_solve_status
from pybuildkit.solver.pb.ops_pb2 import Position, ProgressGroup, Range, SourceInfo

T0 = 946_684_800 * NANOS

TIMES = [
    (ZERO_TIME, "0001-01-01T00:00:00Z"),
    (0, "1970-01-01T00:00:00Z"),
    (T0 + 10_000_000, "2000-01-01T00:00:00.01Z"),
    (T0 + 1, "2000-01-01T00:00:00.000000001Z"),
    (T0 - 1, "1999-12-31T23:59:59.999999999Z"),
    (T0 + 59 * 86_400 * NANOS, "2000-02-29T00:00:00Z"),
    (253_402_300_799 * NANOS, "9999-12-31T23:59:59Z"),
    (-62_167_219_200 * NANOS, "0000-01-01T00:00:00Z"),
]


@pytest.mark.parametrize(("nanos", "text"), TIMES)
def test_time_both_ways(nanos: int, text: str) -> None:
    assert format_time(nanos) == text
    assert parse_time(text) == nanos


@given(st.integers(-62_167_219_200 * NANOS, 253_402_300_800 * NANOS - 1))
def test_any_time_comes_back(nanos: int) -> None:
    assert parse_time(format_time(nanos)) == nanos


@pytest.mark.parametrize("nanos", [253_402_300_800 * NANOS, -62_167_219_201 * NANOS, 1 << 80])
def test_a_year_that_json_cannot_hold(nanos: int) -> None:
    with pytest.raises(StatusError, match=r"year outside of range \[0,9999\]"):
        SolveStatus(vertexes=[Vertex(started=nanos)]).to_json()


@pytest.mark.parametrize(
    ("text", "nanos"),
    [("2000-01-01T02:00:00+02:00", T0), ("1999-12-31T22:30:00.5-01:30", T0 + NANOS // 2)],
)
def test_time_with_a_zone(text: str, nanos: int) -> None:
    assert parse_time(text) == nanos


@pytest.mark.parametrize("text", ["", "2000-01-01", "2001-02-29T00:00:00Z", "2000-13-01T00:00:00Z", "x" * 30])
def test_invalid_time(text: str) -> None:
    with pytest.raises(StatusError, match="invalid time"):
        parse_time(text)


@pytest.mark.parametrize(
    ("text", "quoted"),
    [
        ("plain é 日本", '"plain é 日本"'),
        ('<a href="x">&', '"\\u003ca href=\\"x\\"\\u003e\\u0026"'),
        ("\b\f\n\r\t\\\x00\x1b\x7f", '"\\b\\f\\n\\r\\t\\\\\\u0000\\u001b\x7f"'),
        ("\u2028\u2029", '"\\u2028\\u2029"'),
        ("\udc80", '"\\ufffd"'),
    ],
)
def test_strings_are_escaped_as_go_does(text: str, quoted: str) -> None:
    assert quote_json(text) == quoted


WHOLE = SolveStatus(
    vertexes=[
        Vertex(
            digest="sha256:1",
            inputs=["sha256:0"],
            name="n",
            started=T0,
            completed=T0 + NANOS,
            cached=True,
            error="e",
            progress_group=ProgressGroup(id="g", name="group", weak=True),
        )
    ],
    statuses=[VertexStatus("id", "sha256:1", "name", 2, 1, T0, T0, T0 + 5)],
    logs=[VertexLog("sha256:1", 2, b"hi\n", T0), VertexLog(data=NIL)],
    warnings=[
        VertexWarning(
            vertex="sha256:1",
            level=1,
            short=b"s",
            detail=[b"d", b""],
            url="u",
            source_info=SourceInfo(filename="Dockerfile", data=b"FROM", language="Dockerfile"),
            range=[Range(start=Position(line=1), end=Position(line=2, character=3))],
        )
    ],
)
WHOLE_JSON = (
    '{"vertexes":[{"digest":"sha256:1","inputs":["sha256:0"],"name":"n","started":"2000-01-01T00:00:00Z",'
    '"completed":"2000-01-01T00:00:01Z","cached":true,"error":"e",'
    '"progressGroup":{"id":"g","name":"group","weak":true}}],'
    '"statuses":[{"id":"id","vertex":"sha256:1","name":"name","total":2,"current":1,'
    '"timestamp":"2000-01-01T00:00:00Z","started":"2000-01-01T00:00:00Z",'
    '"completed":"2000-01-01T00:00:00.000000005Z"}],'
    '"logs":[{"vertex":"sha256:1","stream":2,"data":"aGkK","timestamp":"2000-01-01T00:00:00Z"},'
    '{"data":null,"timestamp":"0001-01-01T00:00:00Z"}],'
    '"warnings":[{"vertex":"sha256:1","level":1,"short":"cw==","detail":["ZA==",""],"url":"u",'
    '"sourceInfo":{"filename":"Dockerfile","data":"RlJPTQ==","language":"Dockerfile"},'
    '"range":[{"start":{"line":1},"end":{"line":2,"character":3}}]}]}'
)


def test_json_of_every_field() -> None:
    assert WHOLE.to_json() == WHOLE_JSON
    assert SolveStatus.from_json(WHOLE_JSON) == WHOLE
    assert SolveStatus.from_json(WHOLE_JSON).to_json() == WHOLE_JSON


def test_an_empty_status() -> None:
    assert SolveStatus().to_json() == "{}"
    assert SolveStatus.from_json(b"null") == SolveStatus()


def test_source_definition_in_a_warning() -> None:
    info = SourceInfo(filename="f")
    info.definition.SetInParent()
    getattr(info.definition, "def").append(b"\x01")
    info.definition.metadata["sha256:b"].caps["x"] = False
    info.definition.metadata["sha256:a"].SetInParent()
    text = SolveStatus(warnings=[VertexWarning(source_info=info)]).to_json()
    assert text == (
        '{"warnings":[{"sourceInfo":{"filename":"f","definition":{"def":["AQ=="],'
        '"metadata":{"sha256:a":{},"sha256:b":{"caps":{"x":false}}}}}}]}'
    )
    assert SolveStatus.from_json(text).warnings[0].source_info == info


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "3",
        '{"vertexes":{}}',
        '{"vertexes":[3]}',
        '{"vertexes":[{"name":3}]}',
        '{"vertexes":[{"cached":"x"}]}',
        '{"vertexes":[{"inputs":[1]}]}',
        '{"vertexes":[{"started":"yesterday"}]}',
        '{"vertexes":[{"progressGroup":{"id":1}}]}',
        '{"statuses":[{"current":1.5}]}',
        '{"statuses":[{"current":99999999999999999999}]}',
        '{"logs":[{"data":"!"}]}',
        '{"warnings":[{"detail":"x"}]}',
        '{"warnings":[{"range":[{"start":{"line":99999999999}}]}]}',
        "[" * 100_000,
    ],
)
def test_what_is_no_status(text: str) -> None:
    with pytest.raises(StatusError, match=r"invalid (status|time)"):
        SolveStatus.from_json(text)


def test_unknown_names_and_broken_surrogates() -> None:
    status = SolveStatus.from_json('{"x":1,"vertexes":[{"name":"a\\ud800b","y":[]},null]}')
    assert status == SolveStatus(vertexes=[Vertex(name="a\ufffdb")])
    assert marshal(status)[0].vertexes[0].name == "a\ufffdb"


def test_messages_both_ways() -> None:
    (message,) = marshal(WHOLE)
    assert new_solve_status(type(message).FromString(message.SerializeToString())) == WHOLE


def test_large_logs_are_split() -> None:
    half = b"x" * (MAX_LOG_BYTES // 2)
    status = SolveStatus(
        vertexes=[Vertex(digest="v")],
        logs=[VertexLog("v", 1, data, T0) for data in (half, half, b"y", b"", b"z")],
        warnings=[VertexWarning(short=b"w")],
    )
    messages = marshal(status)
    assert [len(message.logs) for message in messages] == [3, 1, 1, 0]
    assert [len(message.vertexes) for message in messages] == [1, 0, 0, 0]
    assert [len(message.warnings) for message in messages] == [1, 1, 1, 1]
    assert len(status.logs) == 5


JSON_TEXT = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["vertexes", "statuses", "logs", "warnings", "name", "data", "started", "sourceInfo"]),
            inner,
        )
    ),
    max_leaves=20,
)


@given(JSON_TEXT)
def test_any_json_is_read_or_refused(value: object) -> None:
    try:
        status = SolveStatus.from_json(json.dumps(value))
    except StatusError:
        return
    assert SolveStatus.from_json(status.to_json()) == status
