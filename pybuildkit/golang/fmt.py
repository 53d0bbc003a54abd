"""Printing values by Go's verbs.

Mirrors fmt.Sprintf and fmt.Sprint of Go 1.26 for the values of `golang.reflect` and Python's own.

Known verbs: %v %+v %#v %d %b %o %O %x %X %c %q %U %s %t %e %E %f %F %g %G %T %p %%, with flags, width, precision
and `*`.
"""

from __future__ import annotations

import math

from pybuildkit.golang.errors import BuildkitError
from pybuildkit.golang.reflect import Nil, Struct, Time, type_name
from pybuildkit.golang.strconv import format_float, quote, quote_rune

_LARGEST_WIDTH = 1_000_000
_BASES = {"d": "d", "b": "b", "o": "o", "O": "o", "x": "x", "X": "X"}


class _Spec:
    """One verb with its flags.

    Attributes:
        flags: those of `+-# 0` that apply to members too.
        is_named: whether structs show the names of their fields (`%+v`).
        is_erroring: whether String methods are left alone, as they are where a verb does not fit.
    """

    def __init__(self) -> None:
        self.flags = ""
        self.width: int | None = None
        self.precision: int | None = None
        self.is_named = False
        self.is_erroring = False

    def has_zeros(self) -> bool:
        """Whether zeros fill up to the width."""
        return "0" in self.flags and "-" not in self.flags and self.width is not None

    def pad(self, text: str, *, zeros: bool = True) -> str:
        if self.width is None or len(text) >= self.width:
            return text
        if "-" in self.flags:
            return text.ljust(self.width)
        return text.rjust(self.width, "0" if zeros and self.has_zeros() else " ")

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
        return spec.pad("<nil>" if value is None else type_name(value))
    if verb == "v" and "#" in spec.flags:
        return spec.pad(syntax_of(value))
    if verb == "v" and "+" in spec.flags:
        spec.is_named = True
        spec.flags = spec.flags.replace("+", "")
    if verb == "p" and (isinstance(value, (list, dict)) or (isinstance(value, Struct) and value.is_pointer)):
        return spec.pad(address(value))
    return _fitting(verb, spec, value, 0)


def _fitting(verb: str, spec: _Spec, value: object, depth: int) -> str:
    """The value under a verb, or how Go says that the verb does not fit it: by %v, the flags still in force."""
    text = _verb(verb, spec, value, depth)
    if text is not None:
        return text
    if value is None:
        return f"%!{verb}(<nil>)"
    before, spec.is_erroring = spec.is_erroring, True
    shown = _verb("v", spec, value, 0)
    spec.is_erroring = before
    return f"%!{verb}({type_name(value)}={shown})"


def _verb(verb: str, spec: _Spec, value: object, depth: int) -> str | None:
    """The value under a verb, None where the verb does not fit it."""
    plain = None
    if verb in "vsxXq" and not spec.is_erroring:
        plain = getattr(value, "go_string", lambda: None)()
    if plain is not None:
        value = str(plain)
    if value is None or isinstance(value, Nil):
        return _nil(verb, spec, value)
    if isinstance(value, bool):
        return spec.pad("true" if value else "false") if verb in "tv" else None
    if isinstance(value, int):
        return _integer(verb, spec, value)
    if isinstance(value, float):
        return _float(verb, spec, value)
    if isinstance(value, (str, bytes)) and (isinstance(value, str) or verb != "v"):
        return _text(verb, spec, value)
    return _compound(verb, spec, value, depth)


def _nil(verb: str, spec: _Spec, value: object) -> str | None:
    name = type_name(value)
    if name.startswith(("[]", "map")):
        return _nil_text(value)
    if name == "*time.Time" and verb in "vsxXq" and not spec.is_erroring:
        return "<nil>"  # as of any String method that is called on nothing
    if verb == "v":
        return spec.pad("<nil>")
    return _integer(verb, spec, 0) if value is not None and verb in "bodxX" else None


def _compound(verb: str, spec: _Spec, value: object, depth: int) -> str | None:
    """A slice, a map or a struct: the verb goes to the members; a pointer within one is a number."""
    if isinstance(value, (list, tuple)):
        return "[" + " ".join(_fitting(verb, spec, member, depth + 1) for member in value) + "]"
    if isinstance(value, dict):
        keys = sorted(value, key=lambda key: str(key).encode("utf-8", "surrogateescape"))
        pairs = (
            f"{_fitting(verb, spec, key, depth + 1)}:{_fitting(verb, spec, value[key], depth + 1)}" for key in keys
        )
        return "map[" + " ".join(pairs) + "]"
    if not isinstance(value, Struct):
        return spec.pad(text_of(value)) if verb == "v" else None
    if value.is_pointer and depth > 0:
        number = int(address(value), 16)
        return spec.pad(address(value)) if verb == "v" else _integer(verb, spec, number) if verb in "bodxX" else None
    fields = value.go_fields() if isinstance(value, Time) else [(field.name, field.value) for field in value.fields]
    members = (
        (f"{name}:" if spec.is_named else "") + _fitting(verb, spec, member, depth + 1) for name, member in fields
    )
    return ("&" if value.is_pointer else "") + "{" + " ".join(members) + "}"


def _integer(verb: str, spec: _Spec, value: int) -> str | None:
    if verb in "cqU":
        return _character(verb, spec, value)
    if verb != "v" and verb not in _BASES:
        return None
    sign = spec.sign(value < 0)
    if spec.precision == 0 and value == 0:
        return spec.pad("", zeros=False)
    digits = f"{abs(value):{_BASES.get(verb, 'd')}}"
    if spec.precision is not None:
        digits = digits.rjust(spec.precision, "0")
    elif spec.has_zeros():
        digits = digits.rjust((spec.width or 0) - len(sign), "0")
    prefix = "0o" if verb == "O" else ""
    if "#" in spec.flags:
        prefix += {"x": "0x", "X": "0X", "b": "0b"}.get(verb, "") or "0" * (verb in "oO" and digits[0] != "0")
    return spec.pad(sign + prefix + digits, zeros=False)


def _character(verb: str, spec: _Spec, value: int) -> str:
    char = chr(value) if 0 <= value < 0x110000 and not 0xD800 <= value < 0xE000 else "\ufffd"
    if verb == "c":
        return spec.pad(char)
    if verb == "q":
        quoted = quote_rune(char)
        return spec.pad(_to_ascii(quoted) if "+" in spec.flags else quoted)
    shown = f" '{char}'" if "#" in spec.flags and char.isprintable() else ""
    return spec.pad(f"U+{value:0{max(spec.precision or 0, 4)}X}{shown}", zeros=False)


def _to_ascii(quoted: str) -> str:
    """A quoted text with escapes in place of what is not ASCII."""
    return "".join(c if c < "\x80" else f"\\u{ord(c):04x}" if ord(c) < 0x10000 else f"\\U{ord(c):08x}" for c in quoted)


def _float(verb: str, spec: _Spec, value: float) -> str | None:
    if verb not in "vgGfFeExX":
        return None
    precision = spec.precision
    kind = "g" if verb == "v" else verb.lower()
    if precision is None:
        precision = -1 if kind in "gx" else 6
    digits = _hex_float(abs(value), precision) if kind == "x" else format_float(abs(value), kind, precision)
    digits = digits.upper() if verb.isupper() else digits
    sign = spec.sign(value < 0)
    if math.isinf(value) or math.isnan(value):
        digits = digits.lstrip("+")
        return spec.pad((sign or "+" * math.isinf(value)) + digits, zeros=False)
    if spec.has_zeros():
        digits = digits.rjust((spec.width or 0) - len(sign), "0")
    return spec.pad(sign + digits, zeros=False)


def _hex_float(value: float, precision: int) -> str:
    """A number that is not negative as 0x1.8p+01, with so many digits (-1 for as many as there are)."""
    if math.isinf(value) or math.isnan(value):
        return format_float(value, "g", -1)
    fraction, exponent = math.frexp(value)
    bits = int(fraction * (1 << 53))
    drop = 52 - 4 * precision
    if precision >= 0 and drop > 0:
        kept, lost = divmod(bits, 1 << drop)
        kept += 2 * lost > 1 << drop or (2 * lost == 1 << drop and kept & 1)
        bits = kept << drop
    if bits >> 53:
        bits, exponent = bits >> 1, exponent + 1
    digits = f"{bits & ((1 << 52) - 1):013x}"
    digits = digits.rstrip("0") if precision < 0 else digits[:precision].ljust(precision, "0")
    return f"0x{bits >> 52}{'.' if digits else ''}{digits}p{exponent - 1 if bits else 0:+03d}"


def _text(verb: str, spec: _Spec, value: str | bytes) -> str | None:
    if verb in "xX":
        data = value if isinstance(value, bytes) else value.encode("utf-8", "surrogateescape")
        prefix = "0x" if "#" in spec.flags and data else ""
        digits = (
            data[: spec.precision].hex(" ").replace(" ", " " + prefix)
            if " " in spec.flags
            else data[: spec.precision].hex()
        )
        shown = prefix + digits
        return spec.pad(shown.upper() if verb == "X" else shown)
    text = value if isinstance(value, str) else value.decode("utf-8", "surrogateescape")
    if spec.precision is not None:
        text = text[: spec.precision]
    if verb == "q":
        backquoted = "#" in spec.flags and "`" not in text and text.replace("\t", "").isprintable()
        quoted = quote(text)
        return spec.pad(f"`{text}`" if backquoted else _to_ascii(quoted) if "+" in spec.flags else quoted)
    return spec.pad(str(text)) if verb in "vs" else None
