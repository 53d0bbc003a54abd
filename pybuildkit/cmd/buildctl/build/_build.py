"""What the value parsers share. Mirrors cmd/buildctl/build/build.go, v0.32.2."""

from __future__ import annotations

from collections.abc import Iterable

from pybuildkit.golang.errors import BuildkitError
from pybuildkit.third_party import csvvalue


class FlagValueError(BuildkitError):
    """A flag's value is malformed."""


def attr_map(values: Iterable[str]) -> dict[str, str]:
    """The `key=value` texts as a dict, the last of a key counting; raises FlagValueError for one without `=`."""
    attrs: dict[str, str] = {}
    for text in values:
        key, equals, value = text.partition("=")
        if not equals:
            raise FlagValueError(f"invalid value {text}")
        attrs[key] = value
    return attrs


def csv_fields(text: str, malformed: str = "invalid value {}") -> list[tuple[str, str, str]]:
    """The `key=value` fields of a CSV line, lazily checked, as (key in lower case, value, field).

    Raises:
        FlagValueError: a field has no `=`; `malformed` is its text.
        csvvalue.ParseError, csvvalue.EmptyLineError: the line is no CSV.
    """
    pairs = []
    for field in csvvalue.fields(text):
        key, equals, value = field.partition("=")
        if not equals:
            raise FlagValueError(malformed.format(field))
        pairs.append((key.lower(), value, field))
    return pairs


def typed_attrs(text: str, flag: str) -> tuple[str, dict[str, str]]:
    """The `type` of a CSV line and its other fields; raises FlagValueError where the type is missing."""
    kind = ""
    attrs: dict[str, str] = {}
    for key, value, _ in csv_fields(text):
        if key == "type":
            kind = value
        else:
            attrs[key] = value
    if not kind:
        raise FlagValueError(f"{flag} requires type=<type>")
    return kind, attrs
