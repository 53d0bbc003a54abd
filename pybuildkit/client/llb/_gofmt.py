"""Go's fmt.Sprintf for the few verbs that names, paths and commands are made with.

Mirrors fmt.Sprintf of Go 1.26.

Known are %s %v %d %t %q %x %X %o %b %c %f %e %g and %%, with flags, width and precision; `%[1]d` and `*` are not.
A verb that does not fit its argument, a missing argument and one too many print as Go prints them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

Arg = str | int | float | bool | bytes | None

_VERB: Final = re.compile(r"%([-+# 0]*)(\d*)((?:\.\d*)?)(.?)", re.DOTALL)
_INTEGER: Final = {"d": "d", "x": "x", "X": "X", "o": "o", "b": "b"}
_FLOAT: Final = frozenset("feEgG")


def sprintf(format: str, *args: Arg) -> str:
    """The format with its verbs replaced by the arguments."""
    rest = iter(args)
    used = 0

    def verb(match: re.Match[str]) -> str:
        nonlocal used
        flags, width, precision, letter = match.groups()
        if letter == "%":
            return "%"
        if not letter:
            return "%!(NOVERB)"
        if used == len(args):
            return f"%!{letter}(MISSING)"
        used += 1
        return _format(flags, width, precision, letter, next(rest))

    text = _VERB.sub(verb, format)
    return text + _extra(rest)


def _extra(args: Iterable[Arg]) -> str:
    left = ", ".join(f"{_go_type(arg)}={_plain(arg)}" if arg is not None else "<nil>" for arg in args)
    return f"%!(EXTRA {left})" if left else ""


def _format(flags: str, width: str, precision: str, letter: str, arg: Arg) -> str:
    if letter == "v":
        letter = "g" if isinstance(arg, float) else "d" if type(arg) is int else "s"
        if letter == "s" and not isinstance(arg, str | bytes):
            return _pad(_plain(arg), flags, width)
    if type(arg) is int and letter in _INTEGER:
        return _number(flags, width, _INTEGER[letter], arg)
    if type(arg) is int and letter == "c":
        return _pad(chr(arg), flags, width)
    if isinstance(arg, float) and letter in _FLOAT:
        return _float(flags, width, precision, letter, arg)
    if isinstance(arg, bool) and letter == "t":
        return _pad(_plain(arg), flags, width)
    if isinstance(arg, str | bytes) and letter in "sqxX":
        return _pad(_string(letter, precision, arg), flags, width)
    return f"%!{letter}({_go_type(arg)}={_plain(arg)})" if arg is not None else f"%!{letter}(<nil>)"


def _string(letter: str, precision: str, arg: str | bytes) -> str:
    text = arg.decode("utf-8", "replace") if isinstance(arg, bytes) else arg
    if precision:
        text = text[: int(precision[1:] or 0)]
    if letter == "q":
        from pybuildkit.golang import strconv

        return strconv.quote(text)
    if letter in "xX":
        digits = text.encode().hex()
        return digits.upper() if letter == "X" else digits
    return text


def _number(flags: str, width: str, letter: str, arg: int) -> str:
    digits = format(abs(arg), ("#" if "#" in flags else "") + letter)
    sign = "-" if arg < 0 else "+" if "+" in flags else " " if " " in flags else ""
    if "0" in flags and "-" not in flags and width:
        return sign + digits.rjust(int(width) - len(sign), "0")
    return _pad(sign + digits, flags, width)


def _float(flags: str, width: str, precision: str, letter: str, arg: float) -> str:
    if letter in "gG" and not precision:
        text = repr(arg)
        return _pad(text[:-2] if text.endswith(".0") else text, flags, width)
    return f"%{flags}{width}{precision}{letter}" % arg


def _pad(text: str, flags: str, width: str) -> str:
    if not width:
        return text
    return text.ljust(int(width)) if "-" in flags else text.rjust(int(width))


def _plain(arg: Arg) -> str:
    if isinstance(arg, bool):
        return "true" if arg else "false"
    return "<nil>" if arg is None else arg.decode("utf-8", "replace") if isinstance(arg, bytes) else str(arg)


def _go_type(arg: Arg) -> str:
    names = {bool: "bool", int: "int", float: "float64", str: "string", bytes: "[]uint8"}
    return names.get(type(arg), "string")
