"""containerd's filter language. Mirrors github.com/containerd/containerd/v2/pkg/filters.

    selectors  SELECTOR[,SELECTOR…]            all of them must match; several filters: one of them
    selector   PATH | PATH==VALUE | PATH!=VALUE | PATH~=REGEXP
    path       NAME[.NAME…], names that are no identifiers in double quotes

A path alone matches where the field is there. A value is a word or a quoted string; a regexp also `/…/` or `|…|`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence

from pybuildkit.third_party.containerd.errdefs import InvalidArgumentError

Field = Callable[[Sequence[str]], str | None]
"""Gives the value of the field at a path, or None where there is none."""

Filter = Callable[[Field], bool]

_NAME = re.compile(r'[A-Za-z_][A-Za-z0-9_]*|"(?:\\.|[^"\\])*"')
_OPERATOR = re.compile(r"==|!=|~=")
_VALUE = re.compile(r'"(?:\\.|[^"\\])*"|/(?:\\.|[^/\\])*/|\|(?:\\.|[^|\\])*\||[^\s,"]+')


def parse_all(filters: Sequence[str]) -> Filter:
    """The filter that matches where one of the filters does; without any it matches everything.

    Raises:
        InvalidArgumentError: a filter cannot be read.
    """
    if not filters:
        return lambda field: True
    parsed = [parse(text) for text in filters]
    return lambda field: any(one(field) for one in parsed)


def parse(text: str) -> Filter:
    """The filter that a text describes; an empty one matches everything. Raises InvalidArgumentError."""
    selectors: list[Filter] = []
    position = 0
    while position < len(text):
        if selectors:
            if text[position] != ",":
                raise _error(text, position)
            position += 1
        selector, position = _selector(text, position)
        selectors.append(selector)
    return lambda field: all(one(field) for one in selectors)


def _error(text: str, position: int) -> InvalidArgumentError:
    return InvalidArgumentError(f"filters: parse error: [{text[:position]} >|{text[position:]}|< ]")


def _unquote(token: str, text: str, position: int) -> str:
    if not token.startswith('"'):
        return token
    try:
        return str(json.loads(token))
    except ValueError:
        raise _error(text, position) from None


def _selector(text: str, position: int) -> tuple[Filter, int]:
    path: list[str] = []
    while True:
        match = _NAME.match(text, position)
        if match is None:
            raise _error(text, position)
        path.append(_unquote(match[0], text, position))
        position = match.end()
        if text[position : position + 1] != ".":
            break
        position += 1
    operator = _OPERATOR.match(text, position)
    if operator is None:
        return (lambda field: field(path) is not None), position
    value = _VALUE.match(text, operator.end())
    if value is None:
        raise _error(text, operator.end())
    return _comparison(text, path, operator[0], value[0], operator.end()), value.end()


def _comparison(text: str, path: list[str], operator: str, token: str, position: int) -> Filter:
    if operator == "~=":
        pattern = token[1:-1] if token[0] in "/|" else _unquote(token, text, position)
        try:
            compiled = re.compile(pattern)
        except re.error:
            raise _error(text, position) from None
        return lambda field: (value := field(path)) is not None and compiled.search(value) is not None
    wanted = _unquote(token, text, position)
    if operator == "==":
        return lambda field: field(path) == wanted
    return lambda field: field(path) != wanted
