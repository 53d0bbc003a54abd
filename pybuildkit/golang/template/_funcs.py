"""The functions that every template may call.

Mirrors text/template/funcs.go of Go 1.26. `and` and `or` are the executor's own, since they do not evaluate all
arguments.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pybuildkit.golang import fmt
from pybuildkit.golang.errors import BuildkitError
from pybuildkit.golang.reflect import Nil, Slice, Struct, Time, type_name


class CallError(BuildkitError):
    """A function that refuses its arguments."""


NO_VALUE = "<no value>"


def pointed_at(value: object) -> str:
    """The text of a value, or of what a pointer points at."""
    return fmt.text_of(_behind(value))


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
    if isinstance(value, Nil):
        raise CallError("len of nil pointer")
    raise CallError(f"len of type {type_name(value).removeprefix('*')}")


def _position(index: object, size: int) -> int:
    if isinstance(index, bool) or not isinstance(index, int):
        if index is None:
            raise CallError("cannot index slice/array with nil")
        raise CallError(f"cannot index slice/array with type {type_name(index)}")
    if not 0 <= index <= size:
        raise CallError(f"index out of range: {int(index)}")
    return index


def _member(data: Sequence[object], index: object, kind: str) -> object:
    position = _position(index, len(data))
    if position == len(data):
        raise CallError(f"reflect: {kind} index out of range")
    return data[position]


def _index(item: object, *indexes: object) -> object:
    if item is None:
        raise CallError("index of untyped nil")
    for index in indexes:
        if isinstance(item, (list, tuple)):
            item = _member(item, index, "slice")
        elif isinstance(item, str):
            item = _member(item.encode("utf-8", "surrogateescape"), index, "string")
        elif isinstance(item, dict):
            if not isinstance(index, str):
                raise CallError(f"value has type {type_name(index)}; should be string")
            item = item.get(index, zero_element(item))
        elif isinstance(item, Nil) and item.go_type.startswith("*"):
            raise CallError("index of nil pointer")
        else:
            raise CallError(f"can't index item of type {type_name(item).removeprefix('*')}")
    return item


def zero_element(item: object) -> object:
    """The zero value of a map's elements."""
    kind = type_name(item).partition("]")[2]
    return {"string": "", "bool": False, "int": 0, "int64": 0}.get(kind)


def _slice(item: object, *indexes: object) -> object:
    if item is None:
        raise CallError("slice of untyped nil")
    if isinstance(item, Nil) and item.go_type.startswith("*"):
        raise CallError("slice of nil pointer")
    if len(indexes) > 3:
        raise CallError(f"too many slice indexes: {len(indexes)}")
    if not isinstance(item, (str, list, tuple)):
        raise CallError(f"can't slice item of type {type_name(item).removeprefix('*')}")
    if isinstance(item, str) and len(indexes) == 3:
        raise CallError("cannot 3-index slice a string")
    data = item.encode("utf-8", "surrogateescape") if isinstance(item, str) else item
    bounds = [0, len(data)]
    for at, index in enumerate(indexes[:2]):
        bounds[at] = _position(index, len(data))
    if bounds[0] > bounds[1]:
        raise CallError(f"invalid slice index: {bounds[0]} > {bounds[1]}")
    part = data[bounds[0] : bounds[1]]
    if isinstance(part, bytes):
        return part.decode("utf-8", "surrogateescape")
    return Slice(type_name(item).removeprefix("[]"), part)


def _basic_kind(value: object) -> str:
    """The kind of a bool, number or text, "" for anything else."""
    for python, kind in ((bool, "bool"), (int, "int"), (float, "float"), (str, "string")):
        if isinstance(value, python):
            return kind
    return ""


def _equal(first: object, *others: object) -> bool:
    if not others:
        raise CallError("missing argument for comparison")
    kind = _basic_kind(first)
    for other in others:
        if kind != _basic_kind(other):
            if first is None or other is None:
                continue
            raise _incompatible(first, other)
        if (first == other) if kind else _same(first, other):
            return True
    return False


def _same(first: object, other: object) -> bool:
    """Whether two values that are neither bools, numbers nor texts are equal."""
    kinds = (_compound_kind(first), _compound_kind(other))
    if kinds[0] != kinds[1] and "" not in kinds:
        shown = f"{fmt.text_of(first)}: {type_name(first)}, {type_name(other)}: {fmt.text_of(other)}"
        raise CallError(f"non-comparable types {shown}")
    nils = [value is None or isinstance(value, Nil) or getattr(value, "is_nil", False) for value in (first, other)]
    if any(nils):
        return all(nils)
    if not _is_comparable(other):
        raise CallError(f"non-comparable type {fmt.text_of(other)}: {type_name(other)}")
    return type_name(first) == type_name(other) and _is_equal(first, other)


def _compound_kind(value: object) -> str:
    """The kind of a slice, map, pointer or struct, "" for nil itself."""
    name = "" if value is None else type_name(value)
    for start, kind in (("[]", "slice"), ("map[", "map"), ("*", "pointer")):
        if name.startswith(start):
            return kind
    return name and "struct"


def _is_comparable(value: object) -> bool:
    if isinstance(value, Struct) and not value.is_pointer:
        return all(_is_comparable(field.value) for field in value.fields)
    return _compound_kind(value) not in ("slice", "map")


def _is_equal(first: object, other: object) -> bool:
    if isinstance(first, Struct) and isinstance(other, Struct) and not first.is_pointer:
        if isinstance(first, Time) and isinstance(other, Time):
            return (first.ns, first.offset) == (other.ns, other.offset)
        return all(_is_equal(a.value, b.value) for a, b in zip(first.fields, other.fields, strict=True))
    return first == other


def _incompatible(first: object, second: object) -> CallError:
    return CallError(f"incompatible types for comparison: {type_name(first)} and {type_name(second)}")


def _less(first: object, second: object) -> bool:
    kinds = (_basic_kind(first), _basic_kind(second))
    if "" in kinds:
        raise CallError("invalid type for comparison")
    if kinds[0] != kinds[1]:
        raise _incompatible(first, second)
    if isinstance(first, str) and isinstance(second, str):
        return first.encode("utf-8", "surrogateescape") < second.encode("utf-8", "surrogateescape")
    if kinds[0] == "bool":
        raise CallError("invalid type for comparison")
    assert isinstance(first, (int, float))
    assert isinstance(second, (int, float))
    return first < second


_HTML = {0: "\ufffd", 0x22: "&#34;", 0x26: "&amp;", 0x27: "&#39;", 0x3C: "&lt;", 0x3E: "&gt;"}


def _escape_html(*values: object) -> str:
    return _printed(values).translate(_HTML)


_JS = {ord(char): f"\\u{ord(char):04X}" for char in "<>&="} | {ord(char): "\\" + char for char in "\\'\""}


def _escape_js(*values: object) -> str:
    text = _printed(values).translate(_JS)
    return "".join(c if c.isprintable() or c == "\x7f" else f"\\u{ord(c):04X}" for c in text)


def _escape_query(*values: object) -> str:
    from pybuildkit.golang.url import query_escape

    return query_escape(_printed(values))


def _printed(values: Sequence[object]) -> str:
    """The values as the escaping functions see them: what is pointed at, and no value as such."""
    shown = [NO_VALUE if value is None else value for value in values]
    return fmt.sprint(*map(_behind, shown))


def _behind(value: object) -> object:
    """What a pointer points at."""
    if isinstance(value, Struct) and value.is_pointer and value.go_string() is None:
        return Struct(type_name(value).removeprefix("*"), *value.fields)
    return value


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
    "js": _escape_js,
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
    "js": (0, None),
    "urlquery": (0, None),
    "eq": (1, None),
    "ne": (2, 2),
    "lt": (2, 2),
    "le": (2, 2),
    "gt": (2, 2),
    "ge": (2, 2),
}
"""How few and how many arguments a function takes (None: any number)."""
