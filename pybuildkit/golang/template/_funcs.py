"""The functions that every template may call.

Mirrors text/template/funcs.go. `and` and `or` are the executor's own, since they do not evaluate all arguments.
"""

from __future__ import annotations

from collections.abc import Callable

from pybuildkit.golang import fmt
from pybuildkit.golang.errors import BuildkitError
from pybuildkit.golang.reflect import Nil, Struct, type_name


class CallError(BuildkitError):
    """A function that refuses its arguments."""


def truth(value: object) -> bool:
    """Whether a value counts as true: it is not zero, empty or nil; a struct always does."""
    return isinstance(value, Struct) or bool(value)


def _length(value: object) -> int:
    if isinstance(value, Nil) and not value.go_type.startswith("*"):
        return 0
    if isinstance(value, str):
        return len(value.encode("utf-8", "surrogateescape"))
    if isinstance(value, (bytes, list, tuple, dict)):
        return len(value)
    if value is None:
        raise CallError("reflect: call of reflect.Value.Type on zero Value")
    raise CallError(f"len of type {type_name(value)}")


def _position(index: object, size: int) -> int:
    if isinstance(index, bool) or not isinstance(index, int):
        if index is None:
            raise CallError("cannot index slice/array with nil")
        raise CallError(f"cannot index slice/array with type {type_name(index)}")
    if not 0 <= index < size:
        raise CallError(f"index out of range: {int(index)}")
    return index


def _index(item: object, *indexes: object) -> object:
    if item is None:
        raise CallError("index of untyped nil")
    for index in indexes:
        if isinstance(item, (list, tuple)):
            item = item[_position(index, len(item))]
        elif isinstance(item, str):
            data = item.encode("utf-8", "surrogateescape")
            item = data[_position(index, len(data))]
        elif isinstance(item, dict):
            if not isinstance(index, str):
                raise CallError(f"value has type {type_name(index)}; should be string")
            item = item.get(index, zero_element(item))
        elif isinstance(item, Nil) and item.go_type.startswith("*"):
            raise CallError("index of nil pointer")
        else:
            raise CallError(f"can't index item of type {type_name(item)}")
    return item


def zero_element(item: object) -> object:
    """The zero value of a map's elements."""
    kind = type_name(item).partition("]")[2]
    return {"string": "", "bool": False, "int": 0, "int64": 0}.get(kind)


def _slice(item: object, *indexes: object) -> object:
    if item is None:
        raise CallError("slice of untyped nil")
    if len(indexes) > 3:
        raise CallError(f"too many slice indexes: {len(indexes)}")
    if not isinstance(item, (str, list, tuple)):
        raise CallError(f"can't slice item of type {type_name(item)}")
    if isinstance(item, str) and len(indexes) == 3:
        raise CallError("cannot 3-index slice a string")
    data = item.encode("utf-8", "surrogateescape") if isinstance(item, str) else item
    bounds = [0, len(data)]
    for at, index in enumerate(indexes[:2]):
        bounds[at] = _position(index, len(data) + 1)
    if bounds[0] > bounds[1]:
        raise CallError(f"invalid slice index: {bounds[0]} > {bounds[1]}")
    part = data[bounds[0] : bounds[1]]
    return part.decode("utf-8", "surrogateescape") if isinstance(part, bytes) else part


def _kind(value: object) -> str:
    if isinstance(value, bool):
        return "bool"
    for python, kind in ((int, "int"), (float, "float"), (str, "string")):
        if isinstance(value, python):
            return kind
    if value is None or isinstance(value, Nil):
        return "nil"
    raise CallError("invalid type for comparison")


def _equal(first: object, *others: object) -> bool:
    if not others:
        raise CallError("missing argument for comparison")
    kind = _comparable_kind(first)
    for other in others:
        other_kind = _comparable_kind(other)
        if "nil" in (kind, other_kind):
            if kind == other_kind:
                return True
            continue
        if kind != other_kind:
            raise _incompatible(first, other)
        if first == other:
            return True
    return False


def _incompatible(first: object, second: object) -> CallError:
    return CallError(f"incompatible types for comparison: {type_name(first)} and {type_name(second)}")


def _comparable_kind(value: object) -> str:
    if isinstance(value, (list, dict)):
        raise CallError(f"non-comparable type {fmt.text_of(value)}: {type_name(value)}")
    return type_name(value) if isinstance(value, Struct) else _kind(value)


def _less(first: object, second: object) -> bool:
    kind = _kind(first)
    if kind in ("bool", "nil"):
        raise CallError("invalid type for comparison")
    if kind != _kind(second):
        raise _incompatible(first, second)
    if isinstance(first, str) and isinstance(second, str):
        return first.encode("utf-8", "surrogateescape") < second.encode("utf-8", "surrogateescape")
    assert isinstance(first, (int, float))
    assert isinstance(second, (int, float))
    return first < second


_HTML = {0: "\ufffd", 0x22: "&#34;", 0x26: "&amp;", 0x27: "&#39;", 0x3C: "&lt;", 0x3E: "&gt;"}


def _escape_html(*values: object) -> str:
    return fmt.sprint(*values).translate(_HTML)


def _escape_query(*values: object) -> str:
    from pybuildkit.golang.url import query_escape

    return query_escape(fmt.sprint(*values))


def _printf(layout: str, *args: object) -> str:
    return fmt.sprintf(layout, *args)


BUILTINS: dict[str, Callable[..., object]] = {
    "and": lambda *values: next((v for v in values if not truth(v)), values[-1]),
    "or": lambda *values: next((v for v in values if truth(v)), values[-1]),
    "not": lambda value: not truth(value),
    "len": _length,
    "index": _index,
    "slice": _slice,
    "print": fmt.sprint,
    "printf": _printf,
    "println": fmt.sprintln,
    "html": _escape_html,
    "urlquery": _escape_query,
    "eq": _equal,
    "ne": lambda first, second: not _equal(first, second),
    "lt": _less,
    "le": lambda first, second: _less(first, second) or _equal(first, second),
    "gt": lambda first, second: not (_less(first, second) or _equal(first, second)),
    "ge": lambda first, second: not _less(first, second),
}

ARITY: dict[str, tuple[int, int | None]] = {
    "and": (1, None),
    "or": (1, None),
    "not": (1, 1),
    "len": (1, 1),
    "index": (1, None),
    "slice": (1, None),
    "print": (0, None),
    "printf": (1, None),
    "println": (0, None),
    "html": (0, None),
    "urlquery": (0, None),
    "eq": (1, None),
    "ne": (2, 2),
    "lt": (2, 2),
    "le": (2, 2),
    "gt": (2, 2),
    "ge": (2, 2),
}
"""How few and how many arguments a function takes (None: any number)."""
