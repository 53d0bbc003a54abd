"""Numbers, times, quoting, printing, tables and JSON, against what Go made of the same values (testdata/*.json)."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pybuildkit.api.services.control import control_pb2
from pybuildkit.golang import duration, fmt, protoreflect, strconv, tabwriter, time
from pybuildkit.golang import json as gojson
from pybuildkit.golang.errors import error_text

_FOLDER = Path(__file__).parent / "testdata"


def _load(name: str) -> Any:
    return json.loads((_FOLDER / f"{name}.json").read_text())


STRCONV = _load("strconv")


@pytest.mark.parametrize(("text", "value", "error"), STRCONV["parse_float"])
def test_parse_float(text: str, value: str, error: str) -> None:
    if error:
        with pytest.raises(strconv.NumError) as caught:
            strconv.parse_float(text)
        assert str(caught.value) == error
    else:
        assert strconv.format_float(strconv.parse_float(text)) == value


@pytest.mark.parametrize(("text", "value", "error"), STRCONV["parse_int"])
def test_parse_int(text: str, value: str, error: str) -> None:
    if error:
        with pytest.raises(strconv.NumError) as caught:
            strconv.parse_int(text, 0)
        assert str(caught.value) == error
    else:
        assert str(strconv.parse_int(text, 0)) == value


@pytest.mark.parametrize(("data", "quoted"), STRCONV["quote"])
def test_quote(data: str, quoted: str) -> None:
    assert strconv.quote(base64.b64decode(data).decode("utf-8", "surrogateescape")) == quoted


@pytest.mark.parametrize(("value", "g", "e", "f", "g3", "as_json"), STRCONV["format_float"])
def test_format_float(value: float, g: str, e: str, f: str, g3: str, as_json: str) -> None:
    value = float(value)
    formats = [strconv.format_float(value, verb) for verb in "gef"]
    assert [*formats, strconv.format_float(value, "g", 3)] == [g, e, f, g3]
    assert gojson.marshal(value) == as_json


@pytest.mark.parametrize(("layout", "args", "text"), STRCONV["sprintf"])
def test_sprintf(layout: str, args: list[Any], text: str) -> None:
    # JSON has no 2.0: the verb says that a number is one with a point.
    if any(verb in layout for verb in "feEgG") and args:
        args = [
            float(arg) if isinstance(arg, int) and index == len(args) - 1 else arg for index, arg in enumerate(args)
        ]
    assert fmt.sprintf(layout, *args) == text


@pytest.mark.parametrize("word", ["1", "t", "T", "TRUE", "true", "True"])
def test_parse_bool_true(word: str) -> None:
    assert strconv.parse_bool(word) is True


@pytest.mark.parametrize("word", ["0", "f", "F", "FALSE", "false", "False"])
def test_parse_bool_false(word: str) -> None:
    assert strconv.parse_bool(word) is False


@pytest.mark.parametrize("word", ["", "tRUE", "yes", "2", " 1"])
def test_parse_bool_error(word: str) -> None:
    with pytest.raises(strconv.NumError) as caught:
        strconv.parse_bool(word)
    assert str(caught.value) == f'strconv.ParseBool: parsing "{word}": invalid syntax'


def test_atoi_names_itself() -> None:
    assert strconv.atoi("-12") == -12
    with pytest.raises(strconv.NumError, match=r'^strconv\.Atoi: parsing "x": invalid syntax$'):
        strconv.atoi("x")


@pytest.mark.parametrize(
    ("text", "bits", "value"),
    [("255", 8, 255), ("256", 8, None), ("-1", 8, None), ("18446744073709551615", 64, 2**64 - 1)],
)
def test_parse_uint(text: str, bits: int, value: int | None) -> None:
    if value is None:
        with pytest.raises(strconv.NumError, match=r"^strconv\.ParseUint: "):
            strconv.parse_uint(text, 10, bits)
    else:
        assert strconv.parse_uint(text, 10, bits) == value


@pytest.mark.parametrize("case", _load("time"), ids=lambda case: case["text"])
def test_time(case: dict[str, Any]) -> None:
    if case["error"]:
        with pytest.raises(time.TimeError) as caught:
            time.parse(case["text"])
        assert str(caught.value) == case["error"]
        return
    at = time.parse(case["text"])
    shown = (time.rfc3339(*at), time.rfc3339_nano(*at), time.string(*at), at.ns // time.SECOND)
    assert shown == (case["rfc3339"], case["nano"], case["string"], case["unix"])
    layout = (
        "Monday Jan _2 2 02 002 06 2006 15 03 3 PM pm 4:5 .000 .999 ,000000 -0700 -07:00 -07 Z07:00 Z0700 MST January 1"
    )
    assert time.format(at.ns, layout, at.offset) == case["layout"]


@given(ns=st.integers(time.ZERO, 253_402_300_799 * time.SECOND), offset=st.none() | st.integers(-840, 840))
def test_times_read_what_they_wrote(ns: int, offset: int | None) -> None:
    seconds = None if offset is None else offset * 60
    year = time.civil(ns, seconds)[0]
    if 1 <= year <= 9999:
        assert time.parse(time.rfc3339_nano(ns, seconds)) == (ns, seconds or None)


@given(st.integers(-(1 << 63), (1 << 63) - 1))
def test_durations_read_what_they_wrote(ns: int) -> None:
    assert duration.parse(duration.string(ns)) == ns


@pytest.mark.parametrize("case", _load("tabwriter"), ids=lambda case: repr(case["text"]))
def test_tabwriter(case: dict[str, Any]) -> None:
    for config, want in zip(
        ((1, 8, 1, "\t"), (0, 0, 1, " "), (0, 8, 2, " "), (5, 4, 0, "\t")), case["outputs"], strict=True
    ):
        out: list[str] = []
        table = tabwriter.Writer(out.append, *config)
        for char in case["text"]:
            table.write(char)
        table.flush()
        assert "".join(out) == want, config


@pytest.mark.parametrize("case", _load("json_errors"), ids=lambda case: repr(case["text"]))
def test_json_syntax_errors(case: dict[str, Any]) -> None:
    with pytest.raises(gojson.SyntaxError) as caught:
        gojson.unmarshal(case["text"])
    assert str(caught.value) == case["error"]
    assert caught.value.offset == case.get("offset", caught.value.offset)


JSON_VALUES: list[tuple[object, str]] = [
    (None, "null"),
    ([True, False], "[true,false]"),
    ({"b": 1, "a": [1, -2]}, '{"b":1,"a":[1,-2]}'),
    (gojson.sorted_map({"b": 1, "a": 2, "é": 3, "Z": 4}), '{"Z":4,"a":2,"b":1,"é":3}'),
    ('<a&b>\u2028\x7f\x01\b\f\n\r\t"\\', '"\\u003ca\\u0026b\\u003e\\u2028\x7f\\u0001\\b\\f\\n\\r\\t\\"\\\\"'),
    (b"\x00\xff", '"AP8="'),
    ("a\udcffb", '"a\\ufffdb"'),
    ({}, "{}"),
    ([], "[]"),
    (2**63, "9223372036854775808"),
]


@pytest.mark.parametrize(("value", "text"), JSON_VALUES)
def test_json_marshal(value: object, text: str) -> None:
    assert gojson.marshal(value) == text


def test_json_without_html_escapes() -> None:
    assert gojson.marshal("<&>", escape_html=False) == '"<&>"'


def test_json_indent() -> None:
    value = {"a": {}, "b": [1, {"c": []}]}
    assert (
        gojson.marshal_indent(value, ">", "  ")
        == '{\n>  "a": {},\n>  "b": [\n>    1,\n>    {\n>      "c": []\n>    }\n>  ]\n>}'
    )


@pytest.mark.parametrize("value", [float("inf"), float("nan")])
def test_json_unsupported_numbers(value: float) -> None:
    with pytest.raises(gojson.UnsupportedValueError):
        gojson.marshal(value)


TEXTS = st.text(st.characters(codec="utf-8"))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXTS,
    lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner),
    max_leaves=20,
)


@given(JSON)
def test_json_reads_what_it_wrote(value: object) -> None:
    assert gojson.unmarshal(gojson.marshal(value)) == value
    assert json.loads(gojson.marshal_indent(value, "", "\t")) == value


@given(st.text(alphabet='{}[]",:\\u0123eE+-.truefalsn \n"', max_size=30))
def test_json_scanner_agrees_with_the_parser(text: str) -> None:
    """Every text is either read, or refused with words of Go's."""
    error = ""
    try:
        gojson.unmarshal(text)
    except gojson.SyntaxError as err:
        error = str(err)
    assert error.startswith(("invalid character ", "invalid escape sequence ", "unexpected end of ")) or not error


def test_json_lone_surrogates_are_replaced() -> None:
    assert gojson.unmarshal('{"\\ud800": ["\\udc00x"]}') == {"\ufffd": ["\ufffdx"]}
    assert gojson.unmarshal(b'"\xff"') == "\ufffd"


@pytest.mark.parametrize(
    ("err", "text"),
    [(KeyError("x"), "KeyError: 'x'"), (TypeError("no"), "TypeError: no"), (ValueError("bad"), "bad")],
)
def test_a_program_s_mistake_is_named(err: Exception, text: str) -> None:
    assert error_text(err) == text


def test_text_of_a_message_escapes_little() -> None:
    record = control_pb2.BuildHistoryRecord(Ref='\u2028\xad\a\x7f\x85\t"\\日\U0010ffff')
    assert protoreflect.text(record) == 'Ref:"\u2028\xad' + r"\x07\x7f\u0085\t\"\\日" + '\U0010ffff"'
