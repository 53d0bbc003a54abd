"""From the text of a Dockerfile to its instructions as words.

Mirrors frontend/dockerfile/parser (parser.go, line_parsers.go, split_command.go, directives.go), v0.32.2.

The file is read line by line. Comments at its top may be parser directives (`# escape=…`). A line that ends with
the escape token goes on in the next one; empty lines and comments in between are skipped. The first word names
the instruction, words that begin with `--` behind it are its flags, and each instruction has its own way to read
the rest. `<<NAME` in ADD, COPY and RUN takes the following lines, up to NAME, as the content of a file.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field

from fake_buildkitd.frontend.dockerfile._location import LocationError, Range, to_ranges, with_location
from fake_buildkitd.frontend.dockerfile._shell import Lex
from fake_buildkitd.frontend.dockerfile._text import SPACE
from pybuildkit.golang.errors import BuildkitError
from pybuildkit.golang.strconv import quote

MAX_LINE = 65535

_WHITESPACE = re.compile(r"[\t\v\f\r ]+")
_HEREDOC = re.compile(r"([0-9]*)<<(-?)[\t\n\f\r ]*([^<]*)\Z")
_LEADING_TABS = re.compile(r"^\t+", re.MULTILINE)
_DIRECTIVE = re.compile(r"^([a-zA-Z][a-zA-Z0-9]*)[\t\n\f\r ]*=[\t\n\f\r ]*(.+?)[\t\n\f\r ]*\Z")
_DIRECTIVES = frozenset({"syntax", "escape", "check"})
_SPACES = frozenset(SPACE)
_BOM = "\ufeff"


class ParseError(BuildkitError):
    """A Dockerfile that breaks the grammar."""


@dataclass
class Heredoc:
    """A file given in the Dockerfile itself."""

    name: str
    expand: bool
    chomp: bool
    content: str = ""


@dataclass
class Node:
    """One instruction: its name as written, flags, arguments, and where it stands."""

    value: str
    original: str
    flags: list[str]
    args: list[str]
    json: bool = False
    sub: Node | None = None
    comments: list[str] = field(default_factory=list)
    heredocs: list[Heredoc] = field(default_factory=list)
    start_line: int = 0
    end_line: int = 0

    def location(self) -> list[Range]:
        """The lines of the instruction."""
        return to_ranges(self.start_line, self.end_line)

    def can_contain_heredoc(self) -> bool:
        """Whether `<<NAME` means a file here."""
        node = self.sub if self.value.lower() == "onbuild" and self.sub is not None else self
        return node.value.lower() in ("add", "copy", "run") and not node.json


@dataclass
class Dockerfile:
    """A parsed file: its instructions, its escape token, and the lines (1-based) of empty continuations."""

    nodes: list[Node]
    escape: str
    empty_continuations: list[int]


@dataclass
class Directive:
    """A parser directive and its line."""

    name: str
    value: str
    line: int


class DirectiveParser:
    """Reads parser directives off the top of a file; the first line that is none ends them."""

    def __init__(self, comment: str = "#", line: int = 0) -> None:
        self._comment = comment
        self._line = line
        self._seen: set[str] = set()
        self._done = False

    def parse_line(self, line: str) -> Directive | None:
        """The directive in the line, or None.

        Raises:
            ParseError: the directive was given before.
        """
        self._line += 1
        if self._done:
            return None
        match = None
        if line.startswith(self._comment):
            match = _DIRECTIVE.match(line[len(self._comment) :].lstrip(SPACE))
        if match is None or match[1].lower() not in _DIRECTIVES:
            self._done = True
            return None
        name = match[1].lower()
        if name in self._seen:
            raise ParseError(f"only one {name} parser directive can be used")
        self._seen.add(name)
        return Directive(name, match[2], self._line)


def parse_directive(name: str, text: str) -> Directive | None:
    """The value of a directive at the top of a Dockerfile, or None."""
    text = text.removeprefix(_BOM)
    first = text.partition("\n")[0]
    skipped = 1 if first.startswith("#!") else 0
    return _find_directive(name, text.split("\n")[skipped:], DirectiveParser("#", skipped))


def detect_syntax(text: str) -> Directive | None:
    """The `syntax` directive in any of the forms `# syntax=`, `// syntax=` and `{"syntax": …}`, or None."""
    found = parse_directive("syntax", text)
    if found is not None:
        return found
    text = text.removeprefix(_BOM)
    skipped = 1 if text.startswith("#!") else 0
    lines = text.split("\n")[skipped:]
    found = _find_directive("syntax", lines, DirectiveParser("//", skipped))
    if found is not None:
        return found
    try:
        document = json.loads("\n".join(lines))
    except (ValueError, RecursionError):
        return None
    if isinstance(document, dict) and isinstance(document.get("syntax"), str):
        return Directive("syntax", document["syntax"], skipped)
    return None


def _find_directive(name: str, lines: list[str], parser: DirectiveParser) -> Directive | None:
    try:
        for line in lines:
            directive = parser.parse_line(line.removesuffix("\r"))
            if directive is None:
                return None
            if directive.name == name:
                return directive
    except ParseError:
        return None
    return None


class _Grammar:
    """The escape token and what depends on it."""

    def __init__(self) -> None:
        self.directives = DirectiveParser()
        self.set_escape("\\")

    def set_escape(self, token: str) -> None:
        if token not in ("`", "\\"):
            raise ParseError(f"invalid escape token '{token}' does not match ` or \\")
        self.escape = token
        escaped = re.escape(token)
        self.continuation = re.compile(rf"([^{escaped}]){escaped}[ \t]*\Z|^{escaped}[ \t]*\Z")

    def take_directive(self, line: str) -> bool:
        directive = self.directives.parse_line(line)
        if directive is not None and directive.name == "escape":
            self.set_escape(directive.value)
        return directive is not None

    def trim_continuation(self, line: str) -> tuple[str, bool]:
        """The line without its continuation token, and whether the instruction ends here."""
        match = self.continuation.search(line)
        if match is None:
            return line, True
        return line[: match.start()] + (match[1] or ""), False


class _Lines:
    """The lines of a file with their ends, and how many were read."""

    def __init__(self, text: str) -> None:
        self._lines = text.split("\n")
        last = self._lines.pop()
        self._lines = [line + "\n" for line in self._lines] + ([last] if last else [])
        self.count = 0
        self.too_long = False

    def next(self) -> str | None:
        if self.too_long or self.count >= len(self._lines):
            return None
        line = self._lines[self.count]
        if len(line) > MAX_LINE // 4 and len(line.removesuffix("\n").encode("utf-8", "surrogateescape")) > MAX_LINE:
            self.too_long = True
            return None
        self.count += 1
        return line


def parse(text: str) -> Dockerfile:
    """Read a Dockerfile.

    Raises:
        LocationError: around the ParseError that says what is wrong.
    """
    return _Parser(text).parse()


class _Parser:
    def __init__(self, text: str) -> None:
        self.grammar = _Grammar()
        self.lines = _Lines(text)
        self.nodes: list[Node] = []
        self.empty: list[int] = []
        self.comments: list[str] = []

    def parse(self) -> Dockerfile:
        while (line := self.lines.next()) is not None:
            self._instruction(line)
        if not self.nodes:
            raise with_location(ParseError("file with no instructions"), to_ranges(self.lines.count, 0))
        if self.lines.too_long:
            raise with_location(
                ParseError(f"dockerfile line greater than max allowed size of {MAX_LINE}"),
                to_ranges(self.lines.count, 0),
            )
        return Dockerfile(self.nodes, self.grammar.escape, self.empty)

    def _instruction(self, line: str) -> None:
        start = self.lines.count
        if start == 1:
            line = line.removeprefix(_BOM)
        self._note_comment(line)
        text, directive = self._process(line.rstrip("\r\n").lstrip(SPACE), start - 1)
        if directive and self.comments:
            self.comments.pop()
        text, ended = self.grammar.trim_continuation(text)
        if ended and not text:
            return
        text = self._continue(text, ended)
        try:
            node = self._node(text, self.comments)
            if node.can_contain_heredoc() and "<<" in text:
                node.heredocs = self._heredocs(text)
        except LocationError:
            raise
        except BuildkitError as err:
            placed = with_location(err, to_ranges(start, self.lines.count))
            raise placed from placed.__cause__
        node.start_line, node.end_line = start, self.lines.count
        self.nodes.append(node)
        self.comments = []

    def _note_comment(self, line: str) -> None:
        if not _is_comment(line):
            return
        comment = line[1:].strip(SPACE)
        if comment:
            self.comments = [*self.comments, comment]
        else:
            self.comments = []

    def _process(self, text: str, line: int) -> tuple[str, bool]:
        try:
            directive = self.grammar.take_directive(text)
        except ParseError as err:
            placed = with_location(err, to_ranges(line, 0))
            raise placed from placed.__cause__
        return ("" if _is_comment(text) else text), directive

    def _continue(self, text: str, ended: bool) -> str:
        parts = [text]
        hole = False
        while not ended and (line := self.lines.next()) is not None:
            piece, _ = self._process(line.rstrip("\r\n"), self.lines.count - 1)
            if _is_comment(line):
                continue
            if not piece.lstrip(SPACE):
                hole = True
                continue
            piece, ended = self.grammar.trim_continuation(piece)
            parts.append(piece)
        if hole:
            self.empty.append(self.lines.count)
        return "".join(parts)

    def _node(self, text: str, comments: list[str]) -> Node:
        name, flags, rest = split_command(text, self.grammar.escape)
        node = Node(value=name, original=text, flags=flags, args=[], comments=comments)
        if name.lower() == "onbuild":
            if rest:
                node.sub = self._node(rest, [])
                node.args = [node.sub.value, *node.sub.args]
            return node
        reader = _READERS.get(name.lower())
        if reader is not None:
            reader(node, rest, self.grammar.escape)
        return node

    def _heredocs(self, text: str) -> list[Heredoc]:
        heredocs = heredocs_from_line(text)
        for heredoc in heredocs:
            content: list[str] = []
            while True:
                line = self.lines.next()
                if line is None:
                    raise ParseError("unterminated heredoc")
                terminator = line.rstrip("\r\n")
                if heredoc.chomp:
                    terminator = terminator.lstrip("\t")
                if terminator == heredoc.name:
                    break
                content.append(line)
            heredoc.content = "".join(content)
        return heredocs


def _is_comment(line: str) -> bool:
    return line.lstrip(SPACE).startswith("#")


def parse_heredoc(word: str) -> Heredoc | None:
    """The heredoc that a word begins, or None; quotes around any part of its name keep its content unexpanded."""
    match = _HEREDOC.match(word)
    if match is None or not match[3]:
        return None
    words = Lex("\\", skip_unset_env=True).process_words(match[3], {})
    if len(words) != 1:
        return None
    raw = Lex("\\", skip_unset_env=True, raw_quotes=True).process_words(match[3], {})
    if len(raw) != len(words):
        raise ParseError(f"internal lexing of heredoc produced inconsistent results: {match[3]}")
    expand = _quotes(words[0]) == _quotes(raw[0])
    return Heredoc(name=words[0], expand=expand, chomp=match[2] == "-")


def must_parse_heredoc(word: str) -> Heredoc | None:
    """As `parse_heredoc`, None for a word that cannot be read."""
    try:
        return parse_heredoc(word)
    except BuildkitError:
        return None


def _quotes(word: str) -> int:
    return word.count("'") + word.count('"')


def heredocs_from_line(line: str) -> list[Heredoc]:
    """The heredocs of an instruction, in order."""
    try:
        words = Lex("\\", raw_quotes=True, raw_escapes=True, skip_unset_env=True).process_words(line, {})
    except BuildkitError:
        return []
    return [heredoc for word in words if (heredoc := parse_heredoc(word)) is not None]


def chomp_heredoc_content(content: str) -> str:
    """The content without the tabs at the beginning of its lines."""
    return _LEADING_TABS.sub("", content)


def split_command(line: str, escape: str) -> tuple[str, list[str], str]:
    """The instruction's name, its flags, and the rest of the line."""
    parts = _WHITESPACE.split(line.strip(SPACE), maxsplit=1)
    if len(parts) < 2:
        return parts[0], [], ""
    rest, flags = _builder_flags(parts[1], escape)
    return parts[0], flags, rest.strip(SPACE)


def _builder_flags(line: str, escape: str) -> tuple[str, list[str]]:
    """The text behind the flags, and the flags without quotes and escapes."""
    flags: list[str] = []
    position = 0
    while True:
        while position < len(line) and line[position] in _SPACES:
            position += 1
        if position == len(line):
            return "", flags
        if not line.startswith("--", position):
            return line[position:], flags
        word, quoted, position = _flag_word(line, position, escape)
        if word == "--":
            return line[position:], flags
        if word or quoted:
            flags.append(word)


def _flag_word(line: str, position: int, escape: str) -> tuple[str, bool, int]:
    word: list[str] = []
    quote_char, quoted = "", False
    while position < len(line):
        char = line[position]
        if not quote_char and char in _SPACES:
            break
        if quote_char and char == quote_char:
            quote_char = ""
        elif not quote_char and char in "'\"":
            quote_char, quoted = char, True
        elif char == escape:
            position += 1
            if position < len(line):
                word.append(line[position])
            else:
                break
        else:
            word.append(char)
        position += 1
    return "".join(word), quoted, position


def parse_words(text: str, escape: str) -> list[str]:
    """The words of a text, quotes and escapes kept."""
    words: list[str] = []
    word: list[str] = []
    quote_char, quoted = "", False
    position = 0
    while position < len(text):
        char = text[position]
        if not quote_char and char in _SPACES:
            if word or quoted:
                words.append("".join(word))
            word, quoted = [], False
            position += 1
            continue
        if quote_char:
            closes = char == quote_char
            escapes = char == escape and quote_char != "'"
            if closes:
                quote_char = ""
        else:
            if char in "'\"":
                quote_char, quoted = char, True
            escapes = char == escape
        if escapes:
            position += 1
            if position == len(text):
                break
            word.append(char)
            char = text[position]
        word.append(char)
        position += 1
    if word or quoted:
        words.append("".join(word))
    return words


def _read_string(node: Node, rest: str, escape: str) -> None:
    if rest:
        node.args = [rest]


def _read_strings(node: Node, rest: str, escape: str) -> None:
    if rest:
        node.args = _WHITESPACE.split(rest)


def _read_name_values(node: Node, rest: str, escape: str) -> None:
    """`NAME value` or `NAME=value …`; three arguments for each: name, value, "=" or ""."""
    words = parse_words(rest, escape)
    if not words:
        return
    if "=" not in words[0]:
        parts = _WHITESPACE.split(rest, maxsplit=1)
        if len(parts) < 2:
            raise ParseError(f"{node.value.upper()} must have two arguments")
        node.args = [parts[0], parts[1], ""]
        return
    for word in words:
        name, equals, value = word.partition("=")
        if not equals:
            raise ParseError(f"Syntax error - can't find = in {quote(word)}. Must be of the form: name=value")
        node.args += [name, value, "="]


def _read_words(node: Node, rest: str, escape: str) -> None:
    node.args = parse_words(rest, escape)


def _reject_constant(name: str) -> object:
    raise ValueError(name)


def _read_json(node: Node, rest: str) -> bool:
    rest = rest.lstrip(SPACE)
    if not rest.startswith("["):
        return False
    try:
        values = json.loads(rest, parse_constant=_reject_constant)
    except (ValueError, RecursionError):
        return False
    if not all(isinstance(value, str) for value in values):
        raise ParseError("when using JSON array syntax, arrays must be comprised of strings only")
    node.args = values
    node.json = True
    return True


def _read_maybe_json(node: Node, rest: str, escape: str) -> None:
    if rest and not _read_json(node, rest):
        node.args = [rest]


def _read_maybe_json_list(node: Node, rest: str, escape: str) -> None:
    if not _read_json(node, rest):
        _read_strings(node, rest, escape)


def _read_health(node: Node, rest: str, escape: str) -> None:
    kind = rest
    for position, char in enumerate(rest):
        if char in _SPACES:
            kind = rest[:position]
            break
    if not kind:
        return
    _read_maybe_json(node, rest[len(kind) :].lstrip(SPACE), escape)
    node.args = [kind, *node.args]


_READERS: dict[str, Callable[[Node, str, str], None]] = {
    "add": _read_maybe_json_list,
    "arg": _read_words,
    "cmd": _read_maybe_json,
    "copy": _read_maybe_json_list,
    "entrypoint": _read_maybe_json,
    "env": _read_name_values,
    "expose": _read_strings,
    "from": _read_strings,
    "healthcheck": _read_health,
    "label": _read_name_values,
    "maintainer": _read_string,
    "run": _read_maybe_json,
    "shell": _read_maybe_json,
    "stopsignal": _read_string,
    "user": _read_string,
    "volume": _read_maybe_json_list,
    "workdir": _read_string,
}
