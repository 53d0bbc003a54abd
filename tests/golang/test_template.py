"""Templates, against what Go's text/template made of the same ones (testdata/template.json)."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from pybuildkit.golang import fmt, template
from pybuildkit.golang import json as gojson
from pybuildkit.golang.reflect import Duration, Field, Int64, Map, Nil, Slice, Struct, Time, named, to_json

CASES = json.loads((Path(__file__).parent / "testdata" / "template.json").read_text())
POINTER = re.compile(r"0xc[0-9a-f]{9}")


def _child(name: str, *, is_pointer: bool = False) -> Struct:
    return Struct("main.Child", Field("Name", "name", name), is_pointer=is_pointer)


def _data() -> Struct:
    return Struct(
        "main.Info",
        Field("ID", "id", "abc"),
        Field("Size", "size", Int64(4096)),
        Field("Score", "score", 2.5),
        Field("Big", "big", 123456789.0),
        Field("Mutable", "mutable", False),
        Field("CreatedAt", "createdAt", Time(1704164645_120000000)),
        Field("LastUsedAt", "lastUsedAt", Time(1704164646_000000000, is_pointer=True)),
        Field("NilTime", "nilTime", Nil("*time.Time")),
        Field("Labels", "labels", Map("string", {"b c": "2", "a": "<1>"})),
        Field("Parents", "parents", Slice("string", ["p1", "p2"])),
        Field("NilParents", "nilParents", Slice("string", is_nil=True), omit_empty=True),
        Field("Keep", "keep", Duration(90 * 60 * 10**9)),
        Field("Kind", "kind", named("main.Kind", "regular")),
        Field("Child", "child", _child("kid", is_pointer=True)),
        Field("Nested", "nested", _child("nest")),
        Field("NilChild", "nilChild", Nil("*main.Child")),
        Field("Struct", "struct", Struct("main.Inner", Field("Inner", "Inner", _child("in")), Field("N", "N", 3))),
        is_pointer=True,
    )


def _json(value: object) -> str:
    return gojson.marshal(to_json(value), escape_html=False)


@pytest.mark.parametrize("case", CASES, ids=[case["template"] for case in CASES])
def test_as_go(case: dict[str, str]) -> None:
    out: list[str] = []
    error = ""
    try:
        template.parse(case["template"], {"json": _json}).execute(out.append, _data())
    except (template.ParseError, template.ExecError) as err:
        error = str(err)
    assert (POINTER.sub("<POINTER>", "".join(out)), error) == (case["output"], case["error"])


def test_what_is_not_supported_is_named() -> None:
    with pytest.raises(template.ParseError, match=r'^template: :1: function "call" not defined$'):
        template.parse("{{call .}}")


@pytest.mark.parametrize(
    ("layout", "text"),
    [
        ("%s", "&{abc %!s(int64=4096) 2024-01-02 03:04:05 +0000 UTC {x} map[a:<1>] [p1 p2] <nil>}"),
        ("%6v|", "&{   abc   4096 2024-01-02 03:04:05 +0000 UTC {     x} map[     a:   <1>] [    p1     p2] <nil>}|"),
        ("%05d", '&{%!d(string=00abc) 04096 {00000 63839761445 00000} {%!d(string=0000x)} map[%!d(string=0000a):'
         '%!d(string=00<1>)] [%!d(string=000p1) %!d(string=000p2)] 00000}'),
        ("%q", '&{"abc" \'က\' "2024-01-02 03:04:05 +0000 UTC" {"x"} map["a":"<1>"] ["p1" "p2"] <nil>}'),
        ("%+v", "&{ID:abc Size:4096 At:2024-01-02 03:04:05 +0000 UTC Child:{Name:x} Labels:map[a:<1>] Parents:[p1 p2]"
         " Nil:<nil>}"),
    ],
)  # fmt: skip
def test_a_verb_goes_to_the_members(layout: str, text: str) -> None:
    data = Struct(
        "main.Info",
        Field("ID", "id", "abc"),
        Field("Size", "size", Int64(4096)),
        Field("At", "at", Time(1704164645_000000000)),
        Field("Child", "child", _child("x")),
        Field("Labels", "labels", Map("string", {"a": "<1>"})),
        Field("Parents", "parents", Slice("string", ["p1", "p2"])),
        Field("Nil", "nil", Nil("*time.Time")),
        is_pointer=True,
    )
    assert fmt.sprintf(layout, data) == text


@pytest.mark.parametrize(("opening", "closing"), [("{{if true}}", "{{end}}"), ("(", ")")])
def test_deep_nesting_is_an_error_and_no_crash(opening: str, closing: str) -> None:
    def nested(depth: int) -> str:
        text = opening * depth + ("x" if "{" in opening else "1") + closing * depth
        return text if "{" in opening else "{{" + text + "}}"

    out: list[str] = []
    template.parse(nested(60)).execute(out.append, None)
    assert out in (["x"], ["1"])
    with pytest.raises(template.ParseError, match="nested deeper than 60 levels"):
        template.parse(nested(100_000 // len(opening)))
