"""A Go regular expression as one of Python's.

Has no counterpart in Go; mirrors the syntax of package regexp, Go 1.26, as far as patterns reach it.

Go's patterns reach Go's `regexp` with a few of their characters untouched: what stands in brackets, and what
follows a backslash. The two languages differ there (classes by name, escapes that only one knows, "$" before a
last newline), so the expression is read as Go reads it and written anew.

Covers what patternmatcher makes: literals, escapes, brackets, groups, alternatives, "." "*" "?" "{n,m}" and the
anchors.
"""

from __future__ import annotations

import re
from collections.abc import Callable

_CLASSES = {
    "d": "0-9",
    "s": r"\t\n\f\r ",
    "w": "0-9A-Za-z_",
}
_POSIX = {
    "alnum": "0-9A-Za-z",
    "alpha": "A-Za-z",
    "ascii": r"\x00-\x7f",
    "blank": r"\t ",
    "cntrl": r"\x00-\x1f\x7f",
    "digit": "0-9",
    "graph": "!-~",
    "lower": "a-z",
    "print": " -~",
    "punct": r"!-/:-@\[-`{-~",
    "space": r"\t\n\v\f\r ",
    "upper": "A-Z",
    "word": "0-9A-Za-z_",
    "xdigit": "0-9A-Fa-f",
}
_CONTROL = {"a": "\a", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_ASSERTIONS = {"A": r"(?:\A)", "b": r"(?a:\b)", "B": r"(?a:\B)", "z": r"(?:\Z)"}


class RegexpError(ValueError):
    """Go would not compile this expression."""


_REPEAT = re.compile(r"\{(\d+)(,(\d*))?\}")
_MAX_REPEAT = 1000


def translate(expression: str) -> str:
    """The expression for Python's `re.search`.

    Raises:
        RegexpError: Go refuses it.
    """
    out: list[str] = []
    pos = 0
    before = _NOTHING
    while pos < len(expression):
        char = expression[pos]
        repeat = _REPEAT.match(expression, pos) if char == "{" else None
        if repeat is not None and not _leading_zero(repeat):
            text, pos = _repetition(repeat, before), repeat.end()
            before = _REPETITION
        elif char in "*?":
            if before != _ATOM:
                raise RegexpError("missing argument to repetition operator")
            text, pos, before = char, pos + 1, _REPETITION
        elif char in "(|":
            text, pos, before = char, pos + 1, _NOTHING
        else:
            text, pos = _atom(expression, pos)
            before = _ATOM
        out.append(text)
    return "".join(out)


_STAR, _DIRS = "[^/]*", "(.*/)?"
_PLAIN = re.compile(r"(?:\[\^/\]\*?|\(\.\*/\)\?|\.\*\Z|\\[^0-9A-Za-z]|[^\[\](){}|*?.\\])*")
_TOKENS = re.compile(r"(\(\.\*/\)\?|\[\^/\]\*)")


def compile(expression: str) -> Callable[[str], re.Match[str] | None]:
    """A function that searches a text for an expression of Go's.

    A byte that is no UTF-8 is U+FFFD for Go, in expressions as in texts, so that such an expression finds all of them.

    Raises:
        RegexpError: Go refuses it.
    """
    if max(expression, default="") >= _SURROGATES:
        found = _compile(_as_go(expression))
        return lambda text: found(_as_go(text))
    return _compile(expression)


_SURROGATES = "\ud800"
_NO_UTF8 = re.compile("[\udc80-\udcff]")


def _as_go(text: str) -> str:
    return text if text.isascii() else _NO_UTF8.sub("\ufffd", text)


def _compile(expression: str) -> Callable[[str], re.Match[str] | None]:
    try:
        exact = re.compile(translate(expression))
        # where a "^" holds for all of it, a search would try every position in vain
        find = exact.search if "|" in expression or "{" in expression else exact.match
        faster = without_backtracking(expression)
        if faster == expression:
            return find
        quick = re.compile(faster[:-1] + r"\Z").match
    except (re.error, OverflowError) as err:
        raise RegexpError(str(err)) from err
    return lambda text: find(text) if "\n" in text else quick(text)


def without_backtracking(expression: str) -> str:
    """A Python expression that matches the same, with fewer ways to do so, in texts without a line feed.

    Go's engine needs linear time; Python's tries every way in which several stars can share a name, which takes for
    ever on a few of them. A star before another one of the same component may stop at the first place where what
    stands between them fits, and so may a "**/" before another one where what stands between ends in "/". Those
    become atomic groups. Expressions with anything but plain characters stay as they are; a line feed, which "."
    does not match, would make a difference between the places.
    """
    if not expression.endswith("$") or _PLAIN.fullmatch(expression[:-1]) is None:
        return expression
    parts = [part for part in _TOKENS.split(expression) if part]
    segments: list[list[str]] = [[]]
    for part in parts:
        if part == _DIRS:
            if len(segments) == 1 or segments[-1]:
                segments.append([])
        else:
            segments[-1].append(part)
    out = [_atomic_stars(segments[0])]
    for index, segment in enumerate(segments[1:], 1):
        body = _atomic_stars(segment)
        more = index + 1 < len(segments)
        out.append(f"(?>(?:.*?/)??{body})" if more and segment and segment[-1].endswith("/") else _DIRS + body)
    return "".join(out)


def _atomic_stars(parts: list[str]) -> str:
    out: list[str] = []
    index = 0
    while index < len(parts):
        between = parts[index + 1 : index + 3]
        if (
            parts[index] == _STAR
            and len(between) == 2
            and between[1] == _STAR
            and "/" not in between[0].replace("[^/]", "")
        ):
            out.append(f"(?>[^/]*?{between[0]})")
            index += 2
        else:
            out.append(parts[index])
            index += 1
    return "".join(out)


_NOTHING, _ATOM, _REPETITION = range(3)


def _leading_zero(repeat: re.Match[str]) -> bool:
    """Go reads a number that begins with a zero as plain text."""
    return any(number is not None and len(number) > 1 and number[0] == "0" for number in (repeat[1], repeat[3]))


def _repetition(repeat: re.Match[str], before: int) -> str:
    low = int(repeat[1])
    high = int(repeat[3]) if repeat[3] else low
    if before == _NOTHING:
        raise RegexpError("missing argument to repetition operator")
    if before == _REPETITION:
        raise RegexpError("invalid nested repetition operator")
    if low > _MAX_REPEAT or high > _MAX_REPEAT or high < low:
        raise RegexpError("invalid repeat count")
    return repeat[0]


def _atom(expression: str, pos: int) -> tuple[str, int]:
    """What matches something by itself."""
    char = expression[pos]
    if char == "[":
        return _brackets(expression, pos + 1)
    if char == "\\":
        return _escape(expression, pos + 1)
    if char in "^$":
        return ("(?:^)" if char == "^" else r"(?:\Z)"), pos + 1
    return (char if char in ".)" else re.escape(char)), pos + 1


def _escape(expression: str, pos: int) -> tuple[str, int]:
    """What follows a backslash outside brackets."""
    if pos >= len(expression):
        raise RegexpError("trailing backslash")
    char = expression[pos]
    if char in _ASSERTIONS:
        return _ASSERTIONS[char], pos + 1
    if char == "Q":
        end = expression.find(r"\E", pos + 1)
        stop = len(expression) if end < 0 else end
        return re.escape(expression[pos + 1 : stop]), stop if end < 0 else stop + 2
    if char == "C":
        return r"[\s\S]", pos + 1
    named = _named_class(expression, pos)
    if named is not None:
        return f"[{named[0]}]", named[1]
    literal, pos = _literal(expression, pos)
    return re.escape(literal), pos


def _named_class(expression: str, pos: int) -> tuple[str, int] | None:
    r"""The ranges of \d, \S and their like."""
    char = expression[pos]
    if char in _CLASSES:
        return _CLASSES[char], pos + 1
    if char.lower() in _CLASSES:
        return _complement(_CLASSES[char.lower()]), pos + 1
    if char in "pP":
        raise RegexpError("Unicode classes are not known here")
    return None


def _complement(ranges: str) -> str:
    """The ranges of everything else."""
    inside = re.compile(f"[{ranges}]")
    out: list[str] = []
    start: int | None = None
    for code in range(0x101):
        if code < 0x100 and inside.match(chr(code)):
            if start is not None:
                out.append(f"\\x{start:02x}-\\x{code - 1:02x}")
            start = None
        elif start is None:
            start = code
    assert start is not None
    return "".join(out) + f"\\x{start:02x}-\\U0010ffff"


def _literal(expression: str, pos: int) -> tuple[str, int]:
    """The character that an escape stands for."""
    char = expression[pos]
    if char in _CONTROL:
        return _CONTROL[char], pos + 1
    if char == "x":
        return _hex(expression, pos + 1)
    if "0" <= char <= "7":
        if char != "0" and not "0" <= expression[pos + 1 : pos + 2] <= "7":
            raise RegexpError("back reference")
        found = re.compile("[0-7]{1,3}").match(expression, pos)
        assert found is not None
        return chr(int(found.group(), 8)), found.end()
    if char.isascii() and not char.isalnum():
        return char, pos + 1
    raise RegexpError(f"invalid escape sequence \\{char}")


def _hex(expression: str, pos: int) -> tuple[str, int]:
    found = re.compile(r"[0-9A-Fa-f]{2}|\{[0-9A-Fa-f]+\}").match(expression, pos)
    if found is None or int(found.group().strip("{}"), 16) > 0x10FFFF:
        raise RegexpError("invalid escape sequence \\x")
    return chr(int(found.group().strip("{}"), 16)), found.end()


def _brackets(expression: str, pos: int) -> tuple[str, int]:
    """A class, from behind its opening bracket."""
    negated = expression.startswith("^", pos)
    if negated:
        pos += 1
    out: list[str] = []
    first = True
    while first or not expression.startswith("]", pos):
        ranges, pos = _bracket_item(expression, pos)
        out.append(ranges)
        first = False
    body = "".join(out)
    return (f"[^{body}]" if negated else f"[{body}]"), pos + 1


def _bracket_item(expression: str, pos: int) -> tuple[str, int]:
    """One range, character or named class in brackets."""
    if pos >= len(expression):
        raise RegexpError("missing closing ]")
    if expression.startswith("[:", pos):
        end = expression.find(":]", pos + 2)
        if end >= 0:
            return _posix(expression[pos + 2 : end]), end + 2
    if expression[pos] == "\\" and pos + 1 < len(expression):
        named = _named_class(expression, pos + 1)
        if named is not None:
            return named
    low, pos = _bracket_char(expression, pos)
    high = low
    if expression.startswith("-", pos) and pos + 1 < len(expression) and expression[pos + 1] != "]":
        high, pos = _bracket_char(expression, pos + 1)
        if high < low:
            raise RegexpError("invalid character class range")
    return f"{_in_class(low)}-{_in_class(high)}", pos


def _posix(name: str) -> str:
    if name.startswith("^") and name[1:] in _POSIX:
        return _complement(_POSIX[name[1:]])
    if name not in _POSIX:
        raise RegexpError("invalid character class range")
    return _POSIX[name]


def _bracket_char(expression: str, pos: int) -> tuple[str, int]:
    if pos >= len(expression):
        raise RegexpError("missing closing ]")
    if expression[pos] != "\\":
        return expression[pos], pos + 1
    if pos + 1 >= len(expression):
        raise RegexpError("trailing backslash")
    return _literal(expression, pos + 1)


def _in_class(char: str) -> str:
    return f"\\U{ord(char):08x}"
