"""A template's text cut into items.

Mirrors text/template/parse/lex.go of Go 1.26.
"""

from __future__ import annotations

from collections.abc import Iterator

from pybuildkit.golang.errors import BuildkitError
from pybuildkit.golang.strconv import quote

KEYWORDS = frozenset(("block", "break", "continue", "define", "else", "end", "if", "range", "nil", "template", "with"))
_LEFT, _RIGHT = "{{", "}}"
_SPACE = " \t\r\n"
_NUMBER_START = frozenset("+-0123456789")


class ParseError(BuildkitError):
    """A text that is no template: `template: :LINE: REASON`."""


class Item:
    """One item: its kind, where it begins, its text and its line.

    Kinds: text, left, right, space, field, variable, identifier, keyword, bool, char, number, string, rawstring, dot,
    nil, pipe, assign, declare, lparen, rparen, comma, mark, error, eof.
    """

    __slots__ = ("kind", "line", "position", "text")

    def __init__(self, kind: str, position: int, text: str, line: int) -> None:
        self.kind = kind
        self.position = position
        self.text = text
        self.line = line

    def __str__(self) -> str:
        if self.kind == "eof":
            return "EOF"
        if self.kind == "error":
            return self.text
        if self.kind in ("keyword", "nil", "dot"):
            return f"<{self.text}>"
        if len(self.text) > 10:
            return quote(self.text[:10]) + "..."
        return quote(self.text)


class _LexError(Exception):
    def __init__(self, text: str, position: int) -> None:
        super().__init__(text)
        self.position = position


def _is_word(char: str) -> bool:
    return char == "_" or char.isalnum()


class _Lexer:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._depth = 0
        self._counted = (0, 1)

    def items(self) -> Iterator[Item]:
        """The items up to the end or the first error."""
        try:
            yield from self._document()
        except _LexError as err:
            yield Item("error", err.position, str(err), self._line(err.position))

    def _line(self, position: int) -> int:
        """The line of a position (fast where it is not before the last one that was asked for)."""
        known, line = self._counted
        if position < known:
            known, line = 0, 1
        self._counted = (position, line + self._text.count("\n", known, position))
        return self._counted[1]

    def _item(self, kind: str, start: int) -> Item:
        return Item(kind, start, self._text[start : self._at], self._line(start))

    def _document(self) -> Iterator[Item]:
        while True:
            start = self._at
            left = self._text.find(_LEFT, start)
            end = len(self._text) if left < 0 else left
            trims = left >= 0 and self._trims_left(left)
            shown_end = start + len(self._text[start:end].rstrip(_SPACE)) if trims else end
            if shown_end > start:
                yield Item("text", start, self._text[start:shown_end], self._line(start))
            if left < 0:
                yield Item("eof", len(self._text), "", self._line(len(self._text)))
                return
            self._at = left + len(_LEFT) + (2 if trims else 0)
            if self._text.startswith("/*", self._at):
                self._comment()
                continue
            yield Item("left", left, _LEFT, self._line(left))
            yield from self._action()

    def _trims_left(self, left: int) -> bool:
        return self._text[left + 2 : left + 3] == "-" and self._text[left + 3 : left + 4] in tuple(_SPACE)

    def _trims_right(self) -> bool:
        return self._text[self._at : self._at + 1] in tuple(_SPACE) and self._text.startswith(
            "-" + _RIGHT, self._at + 1
        )

    def _skip_trimmed(self) -> None:
        while self._text[self._at : self._at + 1] in tuple(_SPACE):
            self._at += 1

    def _comment(self) -> None:
        start = self._at
        close = self._text.find("*/", start + 2)
        if close < 0:
            raise _LexError("unclosed comment", start)
        self._at = close + 2
        trims = self._trims_right()
        if not trims and not self._text.startswith(_RIGHT, self._at):
            raise _LexError("comment ends before closing delimiter", start)
        self._at += 4 if trims else 2
        if trims:
            self._skip_trimmed()

    def _action(self) -> Iterator[Item]:
        self._depth = 0
        while True:
            trims = self._trims_right()
            if trims or self._text.startswith(_RIGHT, self._at):
                if self._depth:
                    raise _LexError("unclosed left paren", self._at)
                start = self._at + (2 if trims else 0)
                self._at = start + len(_RIGHT)
                yield self._item("right", start)
                if trims:
                    self._skip_trimmed()
                return
            if self._at >= len(self._text):
                raise _LexError("unclosed action", self._at)
            yield self._inside()

    def _inside(self) -> Item:
        start = self._at
        char = self._text[start]
        following = self._text[start + 1 : start + 2]
        if char in _SPACE:
            while self._text[self._at : self._at + 1] in tuple(_SPACE) and not self._trims_right():
                self._at += 1
            return self._item("space", start)
        if char == ":" and following != "=":
            self._at += 1
            raise _LexError("expected :=", start)
        simple = {"=": "assign", "|": "pipe", "(": "lparen", ")": "rparen", ",": "comma", ":": "declare"}
        if char in simple:
            return self._simple(simple[char], start)
        if char in "\"`'":
            return self._quoted(char)
        if char == "$":
            return self._word("variable", start)
        if char == "." and (not following or following not in "0123456789"):
            return self._word("field", start)
        if char == "." or char in _NUMBER_START:
            return self._number(start)
        if _is_word(char):
            return self._identifier(start)
        if char.isascii() and char.isprintable():
            self._at += 1
            return self._item("mark", start)
        raise _LexError(f"unrecognized character in action: U+{ord(char):04X} '{char}'", start)

    def _simple(self, kind: str, start: int) -> Item:
        self._at += 2 if kind == "declare" else 1
        if kind == "lparen":
            self._depth += 1
        elif kind == "rparen":
            self._depth -= 1
            if self._depth < 0:
                raise _LexError("unexpected right paren", start)
        return self._item(kind, start)

    def _quoted(self, mark: str) -> Item:
        start = self._at
        what = {'"': "quoted string", "`": "raw quoted string", "'": "character constant"}[mark]
        self._at += 1
        while True:
            char = self._text[self._at : self._at + 1]
            if not char or (char == "\n" and mark != "`"):
                raise _LexError(f"unterminated {what}", start)
            self._at += 1
            if char == "\\" and mark != "`":
                if self._text[self._at : self._at + 1] in ("", "\n"):
                    raise _LexError(f"unterminated {what}", start)
                self._at += 1
            elif char == mark:
                return self._item({'"': "string", "`": "rawstring", "'": "char"}[mark], start)

    def _at_terminator(self) -> bool:
        char = self._text[self._at : self._at + 1]
        return not char or char in _SPACE or char in ".,|:)(" or self._text.startswith(_RIGHT, self._at)

    def _scan_word(self) -> None:
        while self._at < len(self._text) and _is_word(self._text[self._at]):
            self._at += 1
        if not self._at_terminator():
            char = self._text[self._at]
            raise _LexError(f"bad character U+{ord(char):04X} '{char}'", self._at)

    def _word(self, kind: str, start: int) -> Item:
        """A field or a variable; a lone dot or dollar sign is one too."""
        self._at += 1
        self._scan_word()
        lone_dot = kind == "field" and self._at == start + 1
        return self._item("dot" if lone_dot else kind, start)

    def _identifier(self, start: int) -> Item:
        self._scan_word()
        word = self._text[start : self._at]
        if word == "nil":
            return self._item("nil", start)
        if word in KEYWORDS:
            return self._item("keyword", start)
        return self._item("bool" if word in ("true", "false") else "identifier", start)

    def _number(self, start: int) -> Item:
        """Digits with a point, an exponent and a base's prefix, as far as they go; a sign may join two to one."""
        fits = self._scan_number()
        if fits and self._text[self._at : self._at + 1] in ("+", "-"):
            fits = self._scan_number() and self._text[self._at - 1] == "i"
        if not fits:
            raise _LexError(f"bad number syntax: {quote(self._text[start : self._at])}", start)
        return self._item("number", start)

    def _scan_number(self) -> bool:
        """Step over a number; whether no word follows at once."""
        self._accept("+-", 1)
        digits = "0123456789_"
        prefix = self._text[self._at : self._at + 2].lower()
        if prefix in ("0x", "0o", "0b"):
            self._at += 2
            digits = {"0x": "0123456789abcdefABCDEF_", "0o": "01234567_", "0b": "01_"}[prefix]
        self._accept(digits)
        if self._accept(".", 1):
            self._accept(digits)
        if (len(digits) == 11 and self._accept("eE", 1)) or (prefix == "0x" and self._accept("pP", 1)):
            self._accept("+-", 1)
            self._accept("0123456789_")
        self._accept("i", 1)
        following = self._text[self._at : self._at + 1]
        if following and _is_word(following):
            self._at += 1
            return False
        return True

    def _accept(self, chars: str, most: int = 1 << 30) -> int:
        """Step over characters of a set; how many."""
        start = self._at
        while self._at < len(self._text) and self._text[self._at] in chars and self._at - start < most:
            self._at += 1
        return self._at - start


def lex(text: str) -> list[Item]:
    """The items of a text; the last is the end or an error."""
    return list(_Lexer(text).items())
