"""From text to instructions: continuation, comments, directives, flags, heredocs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fake_buildkitd.frontend.dockerfile._location import LocationError
from fake_buildkitd.frontend.dockerfile._parser import detect_syntax, parse, parse_directive, parse_words
from pybuildkit.golang.errors import BuildkitError

ARGS = [
    ("COPY a b c", ["a", "b", "c"]),
    ("COPY   a\tb", ["a", "b"]),
    ('COPY ["a b", "c"]', ["a b", "c"]),
    ('COPY ["a", "b"', ['["a",', '"b"']),
    ("RUN echo 'a  b'", ["echo 'a  b'"]),
    ('RUN ["a","b"]', ["a", "b"]),
    ('ENV A=1 B=\'x y\' C="q\\""', ["A", "1", "=", "B", "'x y'", "=", "C", '"q\\""', "="]),
    ("ENV A one two", ["A", "one two", ""]),
    ("LABEL a=b", ["a", "b", "="]),
    ("ARG a b=c", ["a", "b=c"]),
    ("HEALTHCHECK CMD x y", ["CMD", "x y"]),
    ('HEALTHCHECK CMD ["x"]', ["CMD", "x"]),
    ("HEALTHCHECK NONE", ["NONE"]),
    ("WORKDIR /a b", ["/a b"]),
    ("ONBUILD COPY a b", ["COPY", "a", "b"]),
    ("EXPOSE 80 90/udp", ["80", "90/udp"]),
    ("CMD", []),
]


@pytest.mark.parametrize(("line", "args"), ARGS)
def test_arguments(line: str, args: list[str]) -> None:
    assert parse(line + "\n").nodes[0].args == args


@pytest.mark.parametrize(
    ("line", "flags", "args"),
    [
        ("COPY --from=x --chown=1:2 a b", ["--from=x", "--chown=1:2"], ["a", "b"]),
        ('COPY --from="a b" x y', ["--from=a b"], ["x", "y"]),
        ("COPY -- --x y", [], ["--x", "y"]),
        ("COPY --a\\ b=c x y", ["--a b=c"], ["x", "y"]),
    ],
)
def test_flags(line: str, flags: list[str], args: list[str]) -> None:
    node = parse(line).nodes[0]
    assert (node.flags, node.args) == (flags, args)


def test_continuation() -> None:
    text = "RUN a \\\n  # no\n\n b \\\n  c\nRUN d\\"
    dockerfile = parse(text)
    assert [(node.original, node.start_line, node.end_line) for node in dockerfile.nodes] == [
        ("RUN a  b   c", 1, 5),
        ("RUN d", 6, 6),
    ]
    assert dockerfile.empty_continuations == [5]


def test_comments_belong_to_the_next_instruction() -> None:
    nodes = parse("# one\n# two\nARG x\n#\n# three\n\nARG y\nARG z\n").nodes
    assert [node.comments for node in nodes] == [["one", "two"], ["three"], []]


def test_escape_directive() -> None:
    dockerfile = parse("# escape=`\nRUN a `\n b\nRUN c\\\n")
    assert dockerfile.escape == "`"
    assert [node.original for node in dockerfile.nodes] == ["RUN a  b", "RUN c\\"]


def test_heredocs() -> None:
    text = "COPY <<A <<-'B' <<\"C\"D /x\none $V\nA\n\ttwo\n\tB\nthree\nCD\nRUN x\n"
    nodes = parse(text).nodes
    heredocs = nodes[0].heredocs
    assert [(h.name, h.expand, h.chomp, h.content) for h in heredocs] == [
        ("A", True, False, "one $V\n"),
        ("B", False, True, "\ttwo\n"),
        ("CD", False, False, "three\n"),
    ]
    assert (nodes[0].start_line, nodes[0].end_line, nodes[1].start_line) == (1, 7, 8)


@pytest.mark.parametrize("text", ["ENV <<A b\n", 'COPY ["<<A", "b"]\n', "COPY a<<b c\n", "WORKDIR <<A\n"])
def test_no_heredoc(text: str) -> None:
    assert parse(text).nodes[0].heredocs == []


def test_line_ends_and_byte_order_mark() -> None:
    nodes = parse("\ufeffFROM x\r\nRUN a \\\r\n b\r\n").nodes
    assert [node.original for node in nodes] == ["FROM x", "RUN a  b"]


@pytest.mark.parametrize(
    ("text", "reason", "line"),
    [
        ("", "file with no instructions", 0),
        ("# only\n", "file with no instructions", 1),
        ("# escape=x\nFROM a", "invalid escape token 'x' does not match ` or \\", 0),
        ("# escape=`\n# escape=`\nFROM a", "only one escape parser directive can be used", 1),
        ("FROM a\nCOPY <<E /x\nabc\n", "unterminated heredoc", 2),
        ("FROM a\nENV x\n", "ENV must have two arguments", 2),
        ("ENV a=b c\n", 'Syntax error - can\'t find = in "c". Must be of the form: name=value', 1),
        ('COPY ["a", 1]\n', "when using JSON array syntax, arrays must be comprised of strings only", 1),
    ],
)
def test_errors(text: str, reason: str, line: int) -> None:
    with pytest.raises(LocationError) as caught:
        parse(text)
    assert str(caught.value) == reason
    assert caught.value.locations[0][0].start == line


def test_long_line() -> None:
    assert parse("RUN " + "x" * 65530 + "\n").nodes
    with pytest.raises(LocationError, match="file with no instructions"):
        parse("RUN " + "x" * 65536 + "\n")
    with pytest.raises(LocationError, match="dockerfile line greater than max allowed size of 65535"):
        parse("FROM a\nRUN " + "x" * 65536 + "\n")


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("# syntax=a/b:1\nFROM x", "a/b:1"),
        ("#!/usr/bin/env x\n# syntax = c d\nFROM x", "c d"),
        ("// syntax=e\n", "e"),
        ('{"syntax": "f"}', "f"),
        ("FROM x\n# syntax=g\n", None),
        ("# comment\n# syntax=g\n", None),
    ],
)
def test_detect_syntax(text: str, want: str | None) -> None:
    found = detect_syntax(text)
    assert (found.value if found is not None else None) == want


def test_check_directive() -> None:
    found = parse_directive("check", "# escape=`\n# Check = skip=all\n")
    assert found is not None
    assert (found.value, found.line) == ("skip=all", 2)


def test_words_keep_quotes() -> None:
    assert parse_words("a 'b c' d\\ e \"f\\\"\" ''", "\\") == ["a", "'b c'", "d\\ e", '"f\\""', "''"]


@given(st.text(alphabet="abFROMCPYRUN <-=#\\`\n\"'[],$\t", max_size=80))
def test_any_text_is_parsed_or_refused(text: str) -> None:
    try:
        dockerfile = parse(text)
    except BuildkitError:
        return
    assert dockerfile.nodes
    assert all(1 <= node.start_line <= node.end_line for node in dockerfile.nodes)
