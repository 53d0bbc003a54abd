"""Text in columns that are as wide as their widest cell.

Mirrors text/tabwriter of Go 1.26, for padding by tabs or blanks at the right of a cell.

A cell ends with a tab; what follows the last tab of a line belongs to no column. A column is a run of consecutive
lines that have a cell there. Widths count characters.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


class Writer:
    """Collects text and hands it on in columns.

    Args:
        write: where the text goes.
        min_width: the least width of a column.
        tab_width: the width of a tab where tabs pad.
        padding: what is added to a cell's width.
        pad_char: a tab or a blank.
    """

    def __init__(
        self, write: Callable[[str], object], min_width: int, tab_width: int, padding: int, pad_char: str
    ) -> None:
        self._write = write
        self._min_width = min_width
        self._tab_width = tab_width
        self._padding = padding
        self._pad_char = pad_char
        self._text: list[str] = []

    def write(self, text: str) -> None:
        """Take some text; nothing is handed on before `flush`."""
        self._text.append(text)

    def discard(self) -> None:
        """Forget what was taken and not handed on."""
        self._text.clear()

    def flush(self) -> None:
        """Hand on what was taken; the columns begin anew."""
        text = "".join(self._text)
        self._text.clear()
        if not text:
            return
        lines = [line.split("\t") for line in text.split("\n")]
        if len(lines[-1]) > 1 and not lines[-1][-1]:
            lines[-1].pop()  # a tab at the very end begins no cell
        out: list[str] = []
        self._format(lines, 0, len(lines), [], out)
        self._write("".join(out))

    def _format(self, lines: list[list[str]], first: int, end: int, widths: list[int], out: list[str]) -> None:
        """Lines `first` to `end`, of which the columns left of `len(widths)` have their widths already."""
        column = len(widths)
        at = first
        while at < end:
            if column >= len(lines[at]) - 1:
                at += 1
                continue
            self._print(lines, first, at, widths, out)
            first = at
            width = self._min_width
            while at < end and column < len(lines[at]) - 1:
                width = max(width, len(lines[at][column]) + self._padding)
                at += 1
            self._format(lines, first, at, [*widths, width], out)
            first = at
        self._print(lines, first, end, widths, out)

    def _print(self, lines: list[list[str]], first: int, end: int, widths: list[int], out: list[str]) -> None:
        for index in range(first, end):
            for column, cell in enumerate(lines[index]):
                out.append(cell)
                if column < len(widths):
                    out.append(self._pad(len(cell), widths[column]))
            if index + 1 < len(lines):
                out.append("\n")

    def _pad(self, used: int, width: int) -> str:
        if self._pad_char != "\t":
            return self._pad_char * (width - used)
        if self._tab_width == 0:
            return ""
        stop = -(-width // self._tab_width) * self._tab_width
        return "\t" * -(-(stop - used) // self._tab_width)
