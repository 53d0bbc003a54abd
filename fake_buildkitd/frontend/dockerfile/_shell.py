"""Shell words of a Dockerfile: quotes, escapes and variables.

Mirrors frontend/dockerfile/shell/lex.go, v0.32.2.

A word is read from left to right. `'…'` is literal, `"…"` expands variables, the escape token takes the next
character as it is. Variables are `$name`, `${name}` and

    ${name:-word} ${name-word}      word where name is unset (with the colon: or empty)
    ${name:+word} ${name+word}      word where name is set (with the colon: and not empty)
    ${name:?word} ${name?word}      an error where name is unset (with the colon: or empty)
    ${name#pattern} ${name##pattern} ${name%pattern} ${name%%pattern}
                                    the value without its shortest or longest prefix or suffix
    ${name/pattern/word} ${name//pattern/word}
                                    the value with the first match or every match replaced

Patterns know `*`, `?` and a backslash. Splitting into words happens after the expansion.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from fake_buildkitd.frontend.dockerfile._text import SPACE
from pybuildkit.golang.errors import BuildkitError
from pybuildkit.golang.strconv import quote

EOF = ""
_SPECIAL = frozenset("@*#?-$!0")
_SPACES = frozenset(SPACE)
_REGEX_CHARS = frozenset("[]{}.+()|^$")


class ShellError(BuildkitError):
    """A word that cannot be read or expanded; `unmatched` are the unknown variables up to the fault."""

    unmatched: frozenset[str] = frozenset()


class Expansion:
    """What a word became: its text, the words it splits into, and which variables were and were not known."""

    __slots__ = ("matched", "result", "unmatched", "words")

    def __init__(self, result: str, words: list[str], matched: set[str], unmatched: set[str]) -> None:
        self.result = result
        self.words = words
        self.matched = matched
        self.unmatched = unmatched


class Lex:
    """A reader of shell words.

    Args:
        escape: the escape token, a backslash or a backtick.
        raw_quotes: whether quotes stay in the result.
        raw_escapes: whether escape tokens stay in the result.
        skip_process_quotes: whether quotes are characters like any other.
        skip_unset_env: whether unset variables stay as they are written.
    """

    def __init__(
        self,
        escape: str,
        *,
        raw_quotes: bool = False,
        raw_escapes: bool = False,
        skip_process_quotes: bool = False,
        skip_unset_env: bool = False,
    ) -> None:
        self.escape = escape
        self.raw_quotes = raw_quotes
        self.raw_escapes = raw_escapes
        self.skip_process_quotes = skip_process_quotes
        self.skip_unset_env = skip_unset_env

    def process(self, word: str, env: Mapping[str, str]) -> Expansion:
        """Expand a word.

        Raises:
            ShellError: `failed to process "WORD": REASON`.
        """
        reader = _Reader(self, word, env)
        try:
            result, words = reader.until(EOF, self.raw_escapes)
        except ShellError as err:
            failed = ShellError(f"failed to process {quote(word)}: {err}")
            failed.unmatched = frozenset(reader.unmatched)
            raise failed from err
        return Expansion(result, words, reader.matched, reader.unmatched)

    def process_word(self, word: str, env: Mapping[str, str]) -> str:
        """The expanded text of a word."""
        return self.process(word, env).result

    def process_words(self, word: str, env: Mapping[str, str]) -> list[str]:
        """The words that a text splits into after its expansion."""
        return self.process(word, env).words


class _Words:
    """Collects words: unquoted white space ends one."""

    def __init__(self) -> None:
        self.words: list[str] = []
        self.buffer = ""
        self.in_word = False

    def add(self, text: str) -> None:
        for char in text:
            if char not in _SPACES:
                self.add_raw(char)
            elif self.in_word and self.buffer:
                self.words.append(self.buffer)
                self.buffer = ""
                self.in_word = False

    def add_raw(self, text: str) -> None:
        self.buffer += text
        self.in_word = True

    def finish(self) -> list[str]:
        if self.buffer:
            self.words.append(self.buffer)
            self.buffer = ""
            self.in_word = False
        return self.words


class _Reader:
    def __init__(self, lex: Lex, text: str, env: Mapping[str, str]) -> None:
        self.lex = lex
        self.text = text
        self.position = 0
        self.env = env
        self.raw_escapes = lex.raw_escapes
        self.matched: set[str] = set()
        self.unmatched: set[str] = set()

    def peek(self) -> str:
        return self.text[self.position : self.position + 1]

    def next(self) -> str:
        char = self.text[self.position : self.position + 1]
        self.position += 1
        return char

    def until(self, stop: str, raw_escapes: bool) -> tuple[str, list[str]]:
        """Read up to `stop` (EOF: to the end); the text and its words."""
        outer, self.raw_escapes = self.raw_escapes, raw_escapes
        try:
            return self._until(stop)
        finally:
            self.raw_escapes = outer

    def _until(self, stop: str) -> tuple[str, list[str]]:
        result: list[str] = []
        words = _Words()
        while (char := self.peek()) != EOF:
            if stop != EOF and char == stop:
                self.next()
                return "".join(result), words.finish()
            special = self._special(char)
            if special is not None:
                result.append(special)
                if char == "$":
                    words.add(special)
                else:
                    words.add_raw(special)
                continue
            self._plain(result, words)
        if stop != EOF:
            raise ShellError(f"unexpected end of statement while looking for matching {stop}")
        return "".join(result), words.finish()

    def _special(self, char: str) -> str | None:
        if char == "$":
            return self.dollar()
        if char == "<":
            return self._heredoc()
        if char == "'" and not self.lex.skip_process_quotes:
            return self._single_quote()
        if char == '"' and not self.lex.skip_process_quotes:
            return self._double_quote()
        return None

    def _plain(self, result: list[str], words: _Words) -> None:
        char = self.next()
        if char != self.lex.escape:
            words.add(char)
            result.append(char)
            return
        if self.raw_escapes:
            words.add_raw(char)
            result.append(char)
        char = self.next()
        if char != EOF:
            words.add_raw(char)
            result.append(char)

    def _single_quote(self) -> str:
        opening = self.next()
        end = self.text.find("'", self.position)
        if end == -1:
            self.position = len(self.text)
            raise ShellError("unexpected end of statement while looking for matching single-quote")
        body = self.text[self.position : end]
        self.position = end + 1
        return f"{opening}{body}'" if self.lex.raw_quotes else body

    def _double_quote(self) -> str:
        result = [self.next()] if self.lex.raw_quotes else []
        if not self.lex.raw_quotes:
            self.next()
        while True:
            char = self.peek()
            if char == EOF:
                raise ShellError("unexpected end of statement while looking for matching double-quote")
            if char == '"':
                self.next()
                if self.lex.raw_quotes:
                    result.append(char)
                return "".join(result)
            if char == "$":
                result.append(self.dollar())
                continue
            self.next()
            if char == self.lex.escape:
                if self.raw_escapes:
                    result.append(char)
                following = self.peek()
                if following == EOF:
                    continue
                if following in ('"', "$", self.lex.escape):
                    char = self.next()
            result.append(char)

    def _heredoc(self) -> str:
        self.next()
        if self.peek() != "<":
            return "<"
        self.next()
        start = self.position
        while self.peek() in ("\t", "\r", " ") and self.peek() != EOF:
            self.next()
        return "<<" + self.text[start : self.position]

    def dollar(self) -> str:
        """Expand the variable at the reader's place, which is a dollar sign."""
        self.next()
        if self.peek() != "{":
            name = self._name()
            if not name:
                return "$"
            value = self._lookup(name)
            if value is None:
                return "$" + name if self.lex.skip_unset_env else ""
            return value
        self.next()
        following = self.peek()
        if following == EOF:
            raise ShellError("syntax error: missing '}'")
        if following in "{}:":
            raise ShellError("syntax error: bad substitution")
        return self._braces(self._name())

    def _braces(self, name: str) -> str:
        char = self.next()
        if char == "}":
            value = self._lookup(name)
            if value is None:
                return "${" + name + "}" if self.lex.skip_unset_env else ""
            return value
        if char == "/":
            return self._replace(name)
        modifier, null_is_unset = char, False
        if char == ":":
            null_is_unset = True
            char = self.next()
            modifier += char
        elif char == EOF or char not in "+-?#%":
            raise ShellError(f"unsupported modifier ({char or chr(0xFFFD)}) in substitution")
        raw = char in ("#", "%")
        if null_is_unset and raw:
            raise ShellError(f"unsupported modifier ({modifier}) in substitution")
        word = self._operand("}", raw, "syntax error: missing '}'")
        value = self._lookup(name)
        if self.lex.skip_unset_env and value is None:
            return "${" + name + modifier + word + "}"
        return self._modify(name, value, char, modifier, word, null_is_unset)

    def _operand(self, stop: str, raw_escapes: bool, missing: str) -> str:
        try:
            return self.until(stop, raw_escapes)[0]
        except ShellError as err:
            if self.peek() == EOF:
                raise ShellError(missing) from err
            raise

    def _modify(self, name: str, value: str | None, char: str, modifier: str, word: str, null_is_unset: bool) -> str:
        absent = value is None or (null_is_unset and value == "")
        if char == "-":
            return word if absent else value or ""
        if char == "+":
            return "" if absent else word
        if char == "?":
            if value is None:
                raise ShellError(f"{name}: {word or 'is not allowed to be unset'}")
            if absent:
                raise ShellError(f"{name}: {word or 'is not allowed to be empty'}")
            return value
        if char in ("%", "#") and char:
            greedy = word.startswith(char)
            if greedy:
                word = word[1:]
            return (trim_suffix if char == "%" else trim_prefix)(word, value or "", greedy)
        raise ShellError(f"unsupported modifier ({modifier}) in substitution")

    def _replace(self, name: str) -> str:
        every = self.peek() == "/"
        if every:
            self.next()
        pattern = self._operand("/", True, "syntax error: missing '/' in ${}")
        replacement = self._operand("}", True, "syntax error: missing '}'")
        value = self._lookup(name)
        if self.lex.skip_unset_env and value is None:
            return "${" + name + "/" + pattern + "/" + replacement + "}"
        regex = _compile(pattern, pattern, greedy=True, anchored=False)
        return regex.sub(lambda _: replacement, value or "", count=0 if every else 1)

    def _name(self) -> str:
        start = self.position
        while (char := self.peek()) != EOF:
            first = self.position == start
            if first and char.isdigit():
                while self.peek().isdigit():
                    self.next()
                break
            if first and char in _SPECIAL:
                self.next()
                break
            if not (char.isalpha() or char.isdigit() or char == "_"):
                break
            self.next()
        return self.text[start : self.position]

    def _lookup(self, name: str) -> str | None:
        value = self.env.get(name)
        (self.unmatched if value is None else self.matched).add(name)
        return value


def _compile(pattern: str, shown: str, *, greedy: bool, anchored: bool) -> re.Pattern[str]:
    """A shell pattern as a regular expression."""
    out = ["^"] if anchored else []
    chars = iter(range(len(pattern)))
    for i in chars:
        char = pattern[i]
        if char == "*":
            out.append(".*" if greedy else ".*?")
        elif char == "?":
            out.append(".")
        elif char == "\\":
            following = pattern[i + 1 : i + 2]
            if following in ("}", "/"):
                continue
            if following not in ("*", "?", "\\"):
                raise ShellError(f"invalid pattern ({shown}) in substitution: invalid escape '\\{following}'")
            out.append("\\" + following)
            next(chars)
        elif char in _REGEX_CHARS:
            out.append("\\" + char)
        else:
            out.append(char)
    return re.compile("".join(out))


def trim_prefix(pattern: str, value: str, greedy: bool) -> str:
    """The value without the shortest (greedy: longest) prefix that the pattern matches."""
    match = _compile(pattern, pattern, greedy=greedy, anchored=True).match(value)
    return value[match.end() :] if match else value


def trim_suffix(pattern: str, value: str, greedy: bool) -> str:
    """The value without the shortest (greedy: longest) suffix that the pattern matches.

    Regular expressions find the leftmost match, so pattern and value are turned round.
    """
    return trim_prefix(_reverse_pattern(pattern), value[::-1], greedy)[::-1]


def _reverse_pattern(pattern: str) -> str:
    out: list[str] = []
    i = 0
    while i < len(pattern):
        step = 2 if pattern[i] == "\\" and i != len(pattern) - 1 else 1
        out.append(pattern[i : i + step])
        i += step
    return "".join(reversed(out))
