"""Shell words: a command line split at blanks, with quotes, escapes and comments, and nothing else of a shell.

Mirrors github.com/google/shlex (e7afc7f).

Rules: blanks (space, tab, CR, LF) part words. `'…'` is literal, in `"…"` a backslash makes the next character
literal, and so it does outside quotes. `#` at the beginning of a word starts a comment up to the end of the line.
"""

from __future__ import annotations

from pybuildkit.golang.errors import BuildkitError

_SPACE = " \t\r\n"


class ShlexError(BuildkitError):
    """The text ends inside quotes or after a backslash."""


def split(text: str) -> list[str]:
    """The words of a text.

    Raises:
        ShlexError: "EOF found when expecting closing quote" or "EOF found after escape character".
    """
    words: list[str] = []
    position = 0
    while position < len(text):
        char = text[position]
        if char in _SPACE:
            position += 1
        elif char == "#":
            newline = text.find("\n", position)
            position = len(text) if newline < 0 else newline + 1
        else:
            word, position = _word(text, position)
            words.append(word)
    return words


def _word(text: str, position: int) -> tuple[str, int]:
    """The word at `position`, and where it ends."""
    out: list[str] = []
    while position < len(text) and text[position] not in _SPACE:
        char = text[position]
        if char == '"':
            position = _double_quoted(text, position + 1, out)
        elif char == "'":
            end = text.find("'", position + 1)
            if end < 0:
                raise ShlexError("EOF found when expecting closing quote")
            out.append(text[position + 1 : end])
            position = end + 1
        elif char == "\\":
            out.append(_escaped(text, position))
            position += 2
        else:
            out.append(char)
            position += 1
    return "".join(out), position


def _double_quoted(text: str, position: int, out: list[str]) -> int:
    while position < len(text):
        char = text[position]
        if char == '"':
            return position + 1
        if char == "\\":
            out.append(_escaped(text, position))
            position += 2
        else:
            out.append(char)
            position += 1
    raise ShlexError("EOF found when expecting closing quote")


def _escaped(text: str, position: int) -> str:
    if position + 1 >= len(text):
        raise ShlexError("EOF found after escape character")
    return text[position + 1]
