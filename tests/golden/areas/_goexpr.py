"""Expressions in Go's syntax, as the vectors are written in: a parser and an evaluator.

    expr      := unary { ("|" | "+" | "-" | "*" | "<<") unary }
    unary     := ["-" | "&" | "*"] postfix
    postfix   := primary { "." NAME | "(" [expr {"," expr}] ["..."] ")" }
    primary   := NUMBER | STRING | CHAR | "nil" | "true" | "false" | NAME | "(" expr ")"
               | NAME "{" fields "}" | "[]" type (body | "(" expr ")") | "map[" type "]" type body
               | "(" NAME {"," NAME} ")" "=>" ("error" STRING | expr)

A `Scope` says what names mean; values are Python's own. Fields of composite literals become keyword arguments.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

_TOKEN = re.compile(
    r"""\s*(?:
    (?P<number>0[xX][0-9a-fA-F_]+|0[bB][01_]+|0[oO]?[0-7_]+(?![0-9.])|\d[\d_]*(?:\.\d+)?)
    |(?P<string>"(?:[^"\\]|\\.)*"|`[^`]*`)
    |(?P<char>'(?:[^'\\]|\\.)+')
    |(?P<name>[^\W\d]\w*)
    |(?P<op>=>|<<|\.\.\.|[][(){}.,:&*|+-])
    )""",
    re.VERBOSE | re.DOTALL,
)
_ESCAPE = re.compile(r"\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-7]{3})|(.))", re.DOTALL)
_SIMPLE = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}


class ExprError(Exception):
    """An expression that is not of this grammar, or names something unknown."""


class GoError(Exception):
    """What a function of the form `(s, c) => error "text"` raises."""


class Scope(Protocol):
    """What names mean."""

    def name(self, name: str) -> Any: ...

    def type(self, name: str) -> Callable[..., Any]: ...

    def attribute(self, value: Any, name: str) -> Any: ...

    def field(self, name: str) -> str: ...


@dataclass(frozen=True)
class TypedNil:
    """`(*T)(nil)`: its methods are called without an object."""

    type: Any


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str


def _tokens(text: str) -> Iterator[_Token]:
    position = 0
    end = len(text.rstrip())
    while position < end:
        match = _TOKEN.match(text, position)
        if match is None or match.lastgroup is None:
            raise ExprError(f"unexpected {text[position : position + 20]!r}")
        yield _Token(match.lastgroup, match[match.lastgroup])
        position = match.end()


def unquote(text: str) -> str:
    """The value of a Go string literal; bytes that are no UTF-8 become lone surrogates."""
    if text[0] == "`":
        return text[1:-1]

    def replace(match: re.Match[str]) -> str:
        byte, short, long, octal, simple = match.groups()
        if byte or octal:
            return chr(0xDC00 + code) if (code := int(byte or octal, 16 if byte else 8)) > 0x7F else chr(code)
        if short or long:
            return chr(int(short or long, 16))
        return _SIMPLE.get(simple, simple)

    raw = _ESCAPE.sub(replace, text[1:-1])
    return raw.encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape")


class _Parser:
    """Parses and evaluates at once; functions keep their tokens for later."""

    def __init__(self, tokens: list[_Token], scope: Scope, local: Mapping[str, Any]) -> None:
        self._tokens = tokens
        self._scope = scope
        self._local = local
        self._position = 0

    def _peek(self, ahead: int = 0) -> str:
        index = self._position + ahead
        return self._tokens[index].text if index < len(self._tokens) else ""

    def _next(self) -> _Token:
        if self._position >= len(self._tokens):
            raise ExprError("the expression ends too early")
        self._position += 1
        return self._tokens[self._position - 1]

    def _take(self, text: str) -> bool:
        if self._peek() == text and self._tokens[self._position].kind == "op":
            self._position += 1
            return True
        return False

    def _expect(self, text: str) -> None:
        if not self._take(text):
            raise ExprError(f"expected {text!r}, found {self._peek()!r}")

    def whole(self) -> Any:
        value = self.expr()
        if self._position != len(self._tokens):
            raise ExprError(f"unexpected {self._peek()!r}")
        return value

    def expr(self) -> Any:
        value = self._unary()
        while self._peek() in ("|", "+", "-", "*", "<<"):
            op = self._next().text
            other = self._unary()
            value = {
                "|": lambda a, b: a | b,
                "+": lambda a, b: a + b,
                "-": lambda a, b: a - b,
                "*": lambda a, b: a * b,
                "<<": lambda a, b: a << b,
            }[op](value, other)
        return value

    def _unary(self) -> Any:
        if self._take("-"):
            return -self._unary()
        if self._take("&") or self._take("*"):
            return self._unary()
        return self._postfix()

    def _postfix(self) -> Any:
        value = self._primary()
        while True:
            if self._take("."):
                name = self._next().text
                value = self._scope.attribute(value, name)
            elif self._peek() == "(":
                value = self._call(value)
            else:
                return value

    def _call(self, function: Any) -> Any:
        self._expect("(")
        args: list[Any] = []
        while not self._take(")"):
            value = self.expr()
            if self._take("..."):
                args.extend(value)
            else:
                args.append(value)
            if not self._take(","):
                self._expect(")")
                break
        return function(*args)

    def _primary(self) -> Any:
        if self._peek() == "[":
            return self._slice()
        if self._peek() == "(":
            return self._parenthesis()
        token = self._next()
        match token.kind:
            case "number":
                return _number(token.text)
            case "string":
                return unquote(token.text)
            case "char":
                return ord(unquote('"' + token.text[1:-1] + '"'))
            case "name":
                return self._named(token.text)
        raise ExprError(f"unexpected {token.text!r}")

    def _named(self, name: str) -> Any:
        if name in self._local:
            return self._local[name]
        if name in ("nil", "true", "false"):
            return {"nil": None, "true": True, "false": False}[name]
        if name == "map" and self._peek() == "[":
            self._expect("[")
            self._type()
            self._expect("]")
            return dict(self._elements(self._type()))
        while self._peek() == "." and self._peek(2) == "{":
            self._expect(".")
            name = self._next().text
        if self._peek() == "{":
            return self._composite(self._scope.type(name))
        return self._scope.name(name)

    def _type(self) -> str:
        """A type, by the last part of its name; slices begin with "[]"."""
        if self._take("["):
            self._expect("]")
            return "[]" + self._type()
        self._take("*")
        name = self._next().text
        while self._take("."):
            name = self._next().text
        return name

    def _slice(self) -> Any:
        element = self._type()[2:]
        if self._peek() == "(":
            value = self._call(lambda value: value)
            return value.encode("utf-8", "surrogateescape") if element == "byte" else value
        values = list(self._elements(element))
        return bytes(values) if element == "byte" else values

    def _elements(self, element: str) -> Iterator[Any]:
        """The elements of a slice, or the pairs of a map; those without a type have `element`."""
        self._expect("{")
        while not self._take("}"):
            value = self._element(element)
            if self._take(":"):
                value = (value, self._element(element))
            yield value
            if not self._take(","):
                self._expect("}")
                return

    def _element(self, element: str) -> Any:
        return self._composite(self._scope.type(element)) if self._peek() == "{" else self.expr()

    def _composite(self, make: Callable[..., Any]) -> Any:
        self._expect("{")
        fields: dict[str, Any] = {}
        while not self._take("}"):
            name = self._next().text
            self._expect(":")
            fields[self._scope.field(name)] = self.expr()
            if not self._take(","):
                self._expect("}")
                break
        return make(**fields)

    def _parenthesis(self) -> Any:
        close = self._matching()
        if self._tokens[close + 1 : close + 2] == [_Token("op", "=>")]:
            return self._function(close)
        self._expect("(")
        if self._peek() == "*" and self._peek(2) == ")" and self._peek(3) == "(" and self._peek(4) == "nil":
            type_name = self._peek(1)
            self._position += 6
            return TypedNil(self._scope.type(type_name))
        value = self.expr()
        self._expect(")")
        return value

    def _matching(self, start: int | None = None) -> int:
        depth = 0
        for index in range(self._position if start is None else start, len(self._tokens)):
            token = self._tokens[index]
            depth += (token.kind == "op" and token.text in "([{") - (token.kind == "op" and token.text in ")]}")
            if depth == 0:
                return index
        raise ExprError("a parenthesis is not closed")

    def _function(self, close: int) -> Callable[..., Any]:
        names = [token.text for token in self._tokens[self._position + 1 : close] if token.kind == "name"]
        self._position = close + 2
        begin, depth = self._position, 0
        while self._position < len(self._tokens):
            token = self._tokens[self._position]
            if token.kind == "op" and depth == 0 and token.text in (",", ")", "]", "}"):
                break
            depth += (token.kind == "op" and token.text in "([{") - (token.kind == "op" and token.text in ")]}")
            self._position += 1
        body = self._tokens[begin : self._position]

        def call(*args: Any) -> Any:
            if body[0].text == "error":
                raise GoError(unquote(body[1].text))
            local = {**self._local, **dict(zip(names, args, strict=True))}
            return _Parser(body, self._scope, local).whole()

        return call


def _number(text: str) -> int | float:
    digits = text.replace("_", "")
    if "." in digits:
        return float(digits)
    if digits[:2].lower() in ("0x", "0b", "0o"):
        return int(digits, 0)
    return int(digits, 8) if len(digits) > 1 and digits[0] == "0" else int(digits)


def evaluate(text: str, scope: Scope) -> Any:
    """The value of an expression.

    Raises:
        ExprError: it is not of the grammar, or names something unknown.
    """
    return _Parser(list(_tokens(text)), scope, {}).whole()
