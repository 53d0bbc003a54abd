"""How wide text is on a terminal.

Not in BuildKit, which takes a character for a cell: there a line with wide characters is longer than the terminal,
wraps, and the next drawing leaves pieces of it behind. Widths are those of `wcwidth`, character by character; where
terminals disagree (emoji that are joined or have a variant) the wider answer is taken, which never wraps.
"""

from __future__ import annotations

from wcwidth import wcwidth

_EMOJI_VARIANT = "\ufe0f"


def cell_count(text: str) -> int:
    """The cells that the text takes."""
    return len(text) if text.isascii() else sum(map(_width, text))


def cut_to_cells(text: str, limit: int) -> str:
    """The longest beginning of the text that takes no more than `limit` cells."""
    if text.isascii():
        return text[:limit]
    used = 0
    for index, char in enumerate(text):
        used += _width(char)
        if used > limit:
            return text[:index]
    return text


def _width(char: str) -> int:
    return 1 if char == _EMOJI_VARIANT else max(wcwidth(char), 0)
