"""Modes in words, `u+rwx,g=u,o-w`, applied to permission bits.

Mirrors github.com/tonistiigi/dchapes-mode (which follows BSD's setmode), with a umask of 0.

A mode is clauses joined by commas. A clause names whom it is for (any of `ugoa`; nobody named means everybody) and
one or more operations: `+`, `-` or `=` with letters of `rwxXst`, or with one of `ugo` to copy that one's bits.
`X` adds execution only where somebody has it already, and to directories.
"""

from __future__ import annotations

from collections.abc import Callable

from pybuildkit.golang.errors import BuildkitError
from pybuildkit.golang.strconv import parse_int

_USER, _GROUP, _OTHER = 0o700, 0o070, 0o007
_SETUID, _SETGID, _STICKY = 0o4000, 0o2000, 0o1000
_STANDARD = _SETUID | _SETGID | _USER | _GROUP | _OTHER
_EXECUTE = 0o111
_WHO = {"a": _STANDARD, "u": _SETUID | _USER, "g": _SETGID | _GROUP, "o": _OTHER}
_COPY = {"u": 6, "g": 3, "o": 0}

Apply = Callable[[int, bool], int]
"""The new permission bits, given the old ones and whether the file is a directory."""


class ModeError(BuildkitError):
    """A text that is no mode."""


def parse_mode(text: str) -> Apply:
    """Read a mode in words or in octal digits.

    Raises:
        ModeError: "invalid syntax".
        NumError: a number that is not octal.
    """
    if text[:1].isdigit() and text.isascii():
        value = parse_int(text, 8, 16)
        if value & ~(_STANDARD | _STICKY):
            raise ModeError("invalid syntax")
        return lambda perm, is_dir: value
    steps = [step for clause in text.split(",") for step in _clause(clause)]

    def apply(perm: int, is_dir: bool) -> int:
        new = perm
        for step in steps:
            new = step(new, perm, is_dir)
        return new

    return apply


_Step = Callable[[int, int, bool], int]


def _clause(text: str) -> list[_Step]:
    who, position = 0, 0
    while position < len(text) and text[position] in _WHO:
        who |= _WHO[text[position]]
        position += 1
    if position == len(text):
        raise ModeError("invalid syntax")
    steps: list[_Step] = []
    while position < len(text):
        op = text[position]
        if op not in "+-=":
            raise ModeError("invalid syntax")
        end = position + 1
        while end < len(text) and text[end] in "rwxXstugo":
            end += 1
        steps += _operation(op, who, text[position + 1 : end])
        position = end
    return steps


def _operation(op: str, who: int, letters: str) -> list[_Step]:
    bits, execute, copies = 0, 0, ""
    affected = who
    for letter in letters:
        if letter in "rwx":
            bits |= {"r": 0o444, "w": 0o222, "x": _EXECUTE}[letter]
        elif letter == "X":
            bits, execute = (bits | _EXECUTE, execute) if op == "-" else (bits, _EXECUTE)
        elif letter in _COPY:
            copies += letter
        elif who == 0 or who & ~_OTHER:
            if letter == "s":
                bits |= _SETUID | _SETGID
            else:
                affected |= _STICKY if who else 0
                bits |= _STICKY
    mask = affected or (_STANDARD | _STICKY)
    steps: list[_Step] = []
    if bits or (op == "=" and not copies):
        steps.append(_set_bits(op, bits & mask, mask if affected else _STANDARD))
    steps += [_copy_bits(op, letter, who or _STANDARD) for letter in copies]
    if execute:
        steps.append(_add_execute(execute & mask))
    return steps


def _set_bits(op: str, bits: int, cleared: int) -> _Step:
    if op == "-":
        return lambda new, old, is_dir: new & ~bits
    if op == "+":
        return lambda new, old, is_dir: new | bits
    return lambda new, old, is_dir: (new & ~cleared) | bits


def _copy_bits(op: str, source: str, who: int) -> _Step:
    shift = _COPY[source]

    def step(new: int, old: int, is_dir: bool) -> int:
        value = new >> shift & 7
        for target in (_USER, _GROUP, _OTHER):
            if not who & target:
                continue
            place = target // 7
            if op == "=":
                new &= ~target
            new = new & ~(value * place) if op == "-" else new | value * place
        return new

    return step


def _add_execute(bits: int) -> _Step:
    return lambda new, old, is_dir: new | bits if is_dir or old & _EXECUTE else new
