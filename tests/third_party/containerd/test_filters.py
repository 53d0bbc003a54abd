"""Filters; the vectors `refs` hold more."""

from collections.abc import Sequence

import pytest

from pybuildkit.third_party.containerd import filters

OBJECTS: list[dict[str, str]] = [
    {"name": "foo", "labels.foo": "true"},
    {"name": "bar"},
    {"name": "foo", "labels.foo": "present", "labels.more complex label": "1"},
    {"name": "baz", "labels.foo": 'quoted "x" \u00e9'},
]


def _matching(*texts: str) -> list[int]:
    passes = filters.parse_all(texts)

    def adaptor(fields: dict[str, str]) -> filters.Adaptor:
        def field(path: Sequence[str]) -> str | None:
            return fields.get(".".join(path))

        return field

    return [number for number, fields in enumerate(OBJECTS) if passes.match(adaptor(fields))]


@pytest.mark.parametrize(
    ("texts", "matching"),
    [
        ((), [0, 1, 2, 3]),
        (("",), [0, 1, 2, 3]),
        (("name==foo", "name==bar"), [0, 1, 2]),
        (("name==foo,labels.foo==present",), [2]),
        (("labels.foo",), [0, 2, 3]),
        (('labels."more complex label"',), [2]),
        (("name~=^(foo|ba)$",), [0, 2]),
        (("name~=/ba./",), [1, 3]),
        (("name~=|f\\x6fo|",), [0, 2]),
        (("name!=foo",), [1, 3]),
        (('labels.foo=="quoted \\"x\\" \\u00e9"',), [3]),
        (('labels.foo=="quoted \\"x\\" \\xc3\\251"',), [3]),
        (("name~=(",), []),
        (("name == foo",), [0, 2]),
    ],
)
def test_filters(texts: tuple[str, ...], matching: list[int]) -> None:
    assert _matching(*texts) == matching


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("name==", "[name==]: expected value or quoted"),
        (".x", "[ >|.|< x]: expected field or quoted"),
        ("a.", "[a.]: expected field or quoted"),
        ("a==/x/", "[a== >|/|< x/]: invalid quote encountered"),
        ('a=="\\q"', '[a== >|"|< \\q"]: illegal escape sequence'),
        ('a=="\\x1"', '[a== >|"|< \\x1"]: illegal numeric escape sequence'),
        ('a=="\\400"', '[a== >|"|< \\400"]: unquoting failed: quote syntax error'),
        ("a\0", "[a >|\0|< ]: unexpected null"),
        ("\u00e9==1", "[ >|\udcc3|< \udca9==1]: expected field or quoted"),
    ],
)
def test_bad_filters(text: str, error: str) -> None:
    with pytest.raises(filters.FilterError) as caught:
        filters.parse_all([text])
    assert str(caught.value) == f"filters: parse error: {error}: invalid argument"
