"""Printing values by Go's verbs.

Mirrors fmt.Sprintf and fmt.Sprint of Go 1.26 for the values of `golang.reflect` and Python's own.

Known verbs: %v %+v %#v %d %b %o %x %X %c %q %U %s %t %e %E %f %F %g %G %T %p %%, with flags, width, precision and `*`.
"""

from __future__ import annotations

from pybuildkit.golang.errors import BuildkitError
from pybuildkit.golang.reflect import Nil, Struct, Time, type_name
from pybuildkit.golang.strconv import format_float, quote, quote_rune

_LARGEST_WIDTH = 1_000_000
_BASES = {"d": "d", "b": "b", "o": "o", "x": "x", "X": "X"}


class _Spec:
    """One verb with its flags."""

    def __init__(self) -> None:
        self.flags = ""
        self.width: int | None = None
        self.precision: int | None = None

    def pad(self, text: str) -> str:
        if self.width is None or len(text) >= self.width:
            return text
        if "-" in self.flags:
            return text.ljust(self.width)
        return text.rjust(self.width)

    def pad_number(self, text: str) -> str:
        if "0" in self.flags and "-" not in self.flags and self.width is not None:
            sign = text[:1] if text[:1] in ("+", "-", " ") else ""
            return sign + text[len(sign) :].rjust(self.width - len(sign), "0")
        return self.pad(text)

    def sign(self, negative: bool) -> str:
        if negative:
            return "-"
        return "+" if "+" in self.flags else " " if " " in self.flags else ""


def sprint(*values: object) -> str:
    """The values one after the other, with a blank between two that are no texts."""
    out = ""
    for index, value in enumerate(values):
        if index and not isinstance(value, str) and not isinstance(values[index - 1], str):
            out += " "
        out += text_of(value)
    return out


def sprintln(*values: object) -> str:
    """The values with blanks between them, and a newline."""
    return " ".join(text_of(value) for value in values) + "\n"


def text_of(value: object, plus: bool = False, depth: int = 0) -> str:
    """The value as `%v` prints it (`%+v` where `plus`)."""
    if value is None or isinstance(value, Nil):
        return _nil_text(value)
    shown = getattr(value, "go_string", lambda: None)()
    if shown is not None:
        return str(shown)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return int.__repr__(value)
    if isinstance(value, float):
        return format_float(value)
    if isinstance(value, str):
        return str(value)
    if isinstance(value, bytes):
        return "[" + " ".join(str(byte) for byte in value) + "]"
    if isinstance(value, dict):
        keys = sorted(value, key=lambda key: str(key).encode("utf-8", "surrogateescape"))
        return "map[" + " ".join(f"{key}:{text_of(value[key], plus, depth + 1)}" for key in keys) + "]"
    if isinstance(value, (list, tuple)):
        return "[" + " ".join(text_of(member, plus, depth + 1) for member in value) + "]"
    if isinstance(value, Struct):
        return _struct(value, plus, depth)
    return str(value)


def _nil_text(value: object) -> str:
    name = type_name(value)
    return "[]" if name.startswith("[]") else "map[]" if name.startswith("map") else "<nil>"


def _struct(value: Struct, plus: bool, depth: int) -> str:
    if value.is_pointer and depth > 0:
        return address(value)
    members = [(f.name + ":" if plus else "") + text_of(f.value, plus, depth + 1) for f in value.fields]
    return ("&" if value.is_pointer else "") + "{" + " ".join(members) + "}"


def syntax_of(value: object, depth: int = 0) -> str:
    """The value as `%#v` prints it: as Go's source would have it."""
    name = type_name(value)
    if value is None or (isinstance(value, Nil) and name == "*time.Time"):
        return "<nil>"
    if isinstance(value, Nil) or getattr(value, "is_nil", False):
        return f"({name})(nil)" if name.startswith("*") else f"{name}(nil)"
    if isinstance(value, str):
        return quote(value)
    if isinstance(value, bytes):
        return "[]byte{" + ", ".join(f"{byte:#x}" for byte in value) + "}"
    if isinstance(value, dict):
        keys = sorted(value, key=lambda key: str(key).encode("utf-8", "surrogateescape"))
        return name + "{" + ", ".join(f"{quote(str(key))}:{syntax_of(value[key], depth + 1)}" for key in keys) + "}"
    if isinstance(value, (list, tuple)):
        return name + "{" + ", ".join(syntax_of(member, depth + 1) for member in value) + "}"
    if isinstance(value, Time):
        return _time_syntax(value)
    if isinstance(value, Struct):
        if value.is_pointer and depth > 0:
            return f"({name})({address(value)})"
        members = ", ".join(f"{field.name}:{syntax_of(field.value, depth + 1)}" for field in value.fields)
        return f"{name.replace('*', '&')}{{{members}}}"
    return int.__repr__(value) if isinstance(value, int) and not isinstance(value, bool) else text_of(value)


def _time_syntax(value: Time) -> str:
    from pybuildkit.golang import time

    year, _, day, hour, minute, second = time.civil(value.ns, value.offset)
    name = time.format(value.ns, "January", value.offset)
    zone = "time.UTC" if value.offset is None else "time.Local"
    return f"time.Date({year}, time.{name}, {day}, {hour}, {minute}, {second}, {value.ns % 1_000_000_000}, {zone})"


def address(value: object) -> str:
    """A number that stands for where the value lies in memory."""
    return f"0xc{id(value) & 0xFFFFFFFFF:09x}"


def sprintf(layout: str, *args: object) -> str:
    """The layout with its verbs replaced; what does not fit shows as in Go, such as `%!d(string=x)`."""
    out: list[str] = []
    rest = list(args)
    position = 0
    while position < len(layout):
        percent = layout.find("%", position)
        if percent < 0:
            out.append(layout[position:])
            break
        out.append(layout[position:percent])
        spec = _Spec()
        if layout[percent + 1 : percent + 2] == "[":
            raise BuildkitError(
                f"argument numbers are not supported: {layout[percent : layout.find(']', percent) + 2]}"
            )
        position, wrong = _parse_spec(layout, percent + 1, spec, rest)
        out.append(wrong)
        if position >= len(layout):
            out.append("%!(NOVERB)")
            break
        verb = layout[position]
        position += 1
        out.append("%" if verb == "%" else _argument(verb, spec, rest))
    if rest:
        extra = ", ".join("<nil>" if arg is None else f"{type_name(arg)}={text_of(arg)}" for arg in rest)
        out.append(f"%!(EXTRA {extra})")
    return "".join(out)


def _parse_spec(layout: str, position: int, spec: _Spec, rest: list[object]) -> tuple[int, str]:
    """Flags, width and precision; where the verb stands, and what is wrong with them."""
    while position < len(layout) and layout[position] in "+-# 0":
        spec.flags += layout[position]
        position += 1
    spec.width, position, wrong = _parse_number(layout, position, rest, "%!(BADWIDTH)")
    if spec.width is not None and spec.width < 0:
        spec.flags += "-"
        spec.width = -spec.width
    if layout[position : position + 1] == ".":
        spec.precision, position, bad = _parse_number(layout, position + 1, rest, "%!(BADPREC)")
        if spec.precision is not None and spec.precision < 0:
            spec.precision, bad = None, "%!(BADPREC)"
        elif not bad:
            spec.precision = spec.precision or 0
        wrong += bad
    return position, wrong


def _parse_number(layout: str, position: int, rest: list[object], wrong: str) -> tuple[int | None, int, str]:
    if layout[position : position + 1] == "*":
        value = rest.pop(0) if rest else None
        fits = isinstance(value, int) and not isinstance(value, bool) and abs(value) <= _LARGEST_WIDTH
        return (value, position + 1, "") if fits and isinstance(value, int) else (None, position + 1, wrong)
    end = position
    while end < len(layout) and layout[end] in "0123456789":
        end += 1
    if end == position:
        return None, end, ""
    digits = layout[position:end].lstrip("0") or "0"
    if len(digits) > len(str(_LARGEST_WIDTH)) + 1 or int(digits) // 10 > _LARGEST_WIDTH:
        return None, len(layout), ""  # as in Go the rest of the layout is lost
    return int(digits), end, ""


def _argument(verb: str, spec: _Spec, rest: list[object]) -> str:
    if not rest:
        return f"%!{verb}(MISSING)"
    value = rest.pop(0)
    if verb == "T":
        return spec.pad(type_name(value))
    if verb == "v" and "#" in spec.flags:
        return spec.pad(syntax_of(value))
    if verb == "p" and isinstance(value, (Struct, list, dict)):
        return spec.pad(address(value))
    return _fitting(verb, spec, value)


def _fitting(verb: str, spec: _Spec, value: object) -> str:
    """The value under a verb, or how Go says that the verb does not fit it."""
    text = _verb(verb, spec, value)
    if text is not None:
        return text
    shown = "<nil>" if value is None else f"{type_name(value)}={text_of(value)}"
    return f"%!{verb}({shown})"


def _verb(verb: str, spec: _Spec, value: object) -> str | None:
    """The value under a verb, None where the verb does not fit it."""
    plain = getattr(value, "go_string", lambda: None)() if verb in "vsxXq" else None
    if plain is not None:
        value = str(plain)
    if isinstance(value, Nil) and value.go_type == "*time.Time" and verb in "vsxXq":
        return spec.pad("<nil>")
    if isinstance(value, bool):
        return spec.pad(text_of(value)) if verb in "tv" else None
    if isinstance(value, int):
        return _integer(verb, spec, value)
    if isinstance(value, float):
        return _float(verb, spec, value)
    if isinstance(value, (str, bytes)) and (isinstance(value, str) or verb != "v"):
        return _text(verb, spec, value)
    if verb == "v":
        return spec.pad(text_of(value, "+" in spec.flags))
    if isinstance(value, (list, tuple)):
        return "[" + " ".join(_fitting(verb, spec, member) for member in value) + "]"
    if isinstance(value, dict):
        keys = sorted(value, key=lambda key: str(key).encode("utf-8", "surrogateescape"))
        pairs = (f"{_fitting(verb, spec, key)}:{_fitting(verb, spec, value[key])}" for key in keys)
        return "map[" + " ".join(pairs) + "]"
    if isinstance(value, Struct) and not value.is_pointer and value.go_string() is None:
        return "{" + " ".join(_fitting(verb, spec, field.value) for field in value.fields) + "}"
    return None


def _integer(verb: str, spec: _Spec, value: int) -> str | None:
    if verb == "v":
        verb = "d"
    if verb in _BASES:
        digits = f"{abs(value):{_BASES[verb]}}"
        if spec.precision is not None:
            digits = digits.rjust(spec.precision, "0")
        prefix = {"x": "0x", "X": "0X", "o": "0", "b": "0b"}.get(verb, "") if "#" in spec.flags else ""
        return spec.pad_number(spec.sign(value < 0) + prefix + digits)
    if verb in "cqU":
        char = chr(value) if 0 <= value < 0x110000 and not 0xD800 <= value < 0xE000 else "\ufffd"
        return spec.pad(char if verb == "c" else quote_rune(char) if verb == "q" else f"U+{value:04X}")
    return None


def _float(verb: str, spec: _Spec, value: float) -> str | None:
    if verb not in "vgGfFeE":
        return None
    precision = spec.precision
    kind = "g" if verb == "v" else verb.lower()
    if precision is None:
        precision = -1 if kind == "g" else 6
    text = format_float(abs(value), kind, precision)
    negative = value < 0
    return spec.pad_number(spec.sign(negative) + (text.upper() if verb.isupper() else text))


def _text(verb: str, spec: _Spec, value: str | bytes) -> str | None:
    if verb in "xX":
        data = value if isinstance(value, bytes) else value.encode("utf-8", "surrogateescape")
        digits = data.hex()
        return spec.pad(digits.upper() if verb == "X" else digits)
    text = value if isinstance(value, str) else value.decode("utf-8", "surrogateescape")
    if spec.precision is not None:
        text = text[: spec.precision]
    if verb == "q":
        backquoted = "#" in spec.flags and "`" not in text and (text.isprintable() or not text)
        return spec.pad(f"`{text}`" if backquoted else quote(text))
    return spec.pad_number(str(text)) if verb in "vs" else None
