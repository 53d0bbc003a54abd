"""A small terminal screen that remembers the last lines a program wrote.

Mirrors github.com/tonistiigi/vt100 (90bafcd) as the progress display uses it (NewVT100, Write, Resize, UsedHeight,
Content).

The rules, odd ones included, since the display shows their result:
- Bytes are UTF-8. At an invalid byte the rest of the write is dropped, unless fewer than 12 bytes follow it:
  those are kept and read in front of the next write.
- A character takes one cell, however wide it is. Line feed goes to the first column of the next line; the screen
  scrolls only when a character is to be put below it.
- Cursor moves (A B C D H f), erasing (J K), saving the cursor (s u, ESC 7 and 8) are done; styles and everything
  else are read and thrown away; an escape sequence that a write cuts off is lost.

Differs from the original: the style of a cell, which nothing here shows, is not kept.
"""

from __future__ import annotations

import re
from collections.abc import Callable

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_INTEGER = re.compile(r"[+-]?[0-9]+", re.ASCII)
_INT64_MAX = (1 << 63) - 1
_KEPT_BYTES = 12

_ESCAPE = "\x1b"
_CSI = "\x9b"


class VT100:
    """A screen of `height` lines by `width` cells.

    Args:
        height, width: at least 1.

    Raises:
        ValueError: a size is below 1.
    """

    def __init__(self, height: int, width: int) -> None:
        if height < 1 or width < 1:
            raise ValueError(f"invalid dim ({height}, {width})")
        self.height = height
        self.width = width
        self.content: list[list[str]] = [[" "] * width for _ in range(height)]
        self.y = 0
        self.x = 0
        self._saved = (0, 0)
        self._unparsed = b""

    def lines(self) -> list[str]:
        """The text of every line, as wide as the screen."""
        return ["".join(row) for row in self.content]

    def used_height(self) -> int:
        """How many lines hold anything but spaces."""
        return sum(not _is_blank(row) for row in self.content)

    def resize(self, height: int, width: int) -> None:
        """Cut or fill with spaces at the right and at the bottom; never below 6 cells by 1 line."""
        width = max(width, 6)
        height = max(height, 1)
        if height != self.height:
            del self.content[height:]
            self.content.extend([" "] * self.width for _ in range(height - len(self.content)))
            self.height = height
        if width != self.width:
            for row in self.content:
                del row[width:]
                row.extend(" " * (width - len(row)))
            self.width = width

    def write(self, data: bytes) -> None:
        """Show what a program wrote; never fails."""
        if self._unparsed:
            data = self._unparsed + data
            self._unparsed = b""
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError as err:
            invalid = _escape_end(data, err.start)
            rest = data[invalid + 1 :] if invalid is not None else b""
            text = data[: len(data) if invalid is None else invalid].decode("utf-8", "replace")
            if 0 < len(rest) < _KEPT_BYTES:
                self._unparsed = rest
        self._show(text)

    def _show(self, text: str) -> None:
        position = 0
        while position < len(text):
            match = _CONTROL.search(text, position)
            end = match.start() if match is not None else len(text)
            if end > position:
                self._put(text[position:end])
            if match is None:
                return
            position = self._control(text, end)

    def _control(self, text: str, position: int) -> int:
        """Do the control character or the escape sequence at the position; where the text goes on."""
        char = text[position]
        if char in (_ESCAPE, _CSI):
            end, command, args = _scan_escape(text, position)
            if command:
                self._escape(command, args)
            return end
        if char == "\n":
            self.y += 1
            self.x = 0
        elif char == "\r":
            self.x = 0
        elif char == "\b":
            self._backspace()
        return position + 1

    def _put(self, text: str) -> None:
        """Put characters at the cursor, wrapping and scrolling."""
        position = 0
        while position < len(text):
            self._scroll_if_needed()
            count = min(self.width - self.x, len(text) - position)
            self.content[self.y][self.x : self.x + count] = text[position : position + count]
            position += count
            self.x += count
            if self.x >= self.width:
                self.x = 0
                self.y += 1

    def _scroll_if_needed(self) -> None:
        if self.x >= self.width:
            self.x = 0
            self.y += 1
        if self.y >= self.height:
            del self.content[0]
            self.content.append([" "] * self.width)
            self.y = self.height - 1

    def _backspace(self) -> None:
        self.x -= 1
        if self.x < 0:
            if self.y == 0:
                self.x = 0
            else:
                self.y -= 1
                self.x = self.width - 1

    def _escape(self, command: str, args: str) -> None:
        handler = _HANDLERS.get(command)
        if handler is None:
            return
        numbers = []
        for arg in args.split(";") if args else ():
            if _INTEGER.fullmatch(arg) is None or len(arg) > 20 or abs(int(arg)) > _INT64_MAX:
                return
            numbers.append(int(arg))
        handler(self, numbers)

    def home(self, args: list[int]) -> None:
        """Move the cursor to a line and a column, counted from 1, within the screen."""
        y, x = (args[0] - 1, args[1] - 1) if len(args) >= 2 else (0, 0)
        self.y = min(max(y, 0), self.height - 1)
        self.x = min(max(x, 0), self.width - 1)

    def move(self, y: int, x: int, args: list[int]) -> None:
        """Move the cursor by a number of lines or columns."""
        count = args[0] if args else 1
        self.home([self.y + y * count + 1, self.x + x * count + 1])

    def save(self) -> None:
        """Remember the cursor's place."""
        self._saved = (self.y, self.x)

    def unsave(self) -> None:
        """Go back to the place remembered last."""
        self.y, self.x = self._saved

    def erase_columns(self, args: list[int]) -> None:
        """Blank the cursor's line: 0 from the cursor on, 1 up to it, 2 all of it."""
        direction = args[0] if args else 0
        if self.y >= self.height or direction not in (0, 1, 2):
            return
        start = min(self.x, self.width - 1) if direction == 0 else 0
        end = min(self.x + 1, self.width) if direction == 1 else self.width
        if end > start:
            self.content[self.y][start:end] = " " * (end - start)

    def erase_lines(self, args: list[int]) -> None:
        """Blank whole lines: 0 from the cursor's on, 1 up to it, 2 all."""
        direction = args[0] if args else 0
        if direction not in (0, 1, 2):
            return
        start = self.y if direction == 0 else 0
        end = self.y + 1 if direction == 1 else self.height
        for row in self.content[min(start, end - 1) : end]:
            row[:] = " " * self.width


def _is_blank(row: list[str]) -> bool:
    return row.count(" ") == len(row)


def _scan_escape(text: str, position: int) -> tuple[int, str, str]:
    """The end, the command and the arguments of an escape sequence; no command where the text ends within it."""
    start = position + 1
    if start >= len(text):
        return len(text), "", ""
    if text[start] == "[":
        start += 1
    elif text[position] == _ESCAPE:
        return start + 1, text[start], ""
    quoted = False
    for end in range(start, len(text)):
        char = text[end]
        if not quoted and "@" <= char <= "~":
            return end + 1, char, text[start:end]
        if char == '"':
            quoted = not quoted
    return len(text), "", ""


def _escape_end(data: bytes, invalid: int) -> int | None:
    """The first invalid byte that lies outside an escape sequence; inside one, any byte is an argument."""
    text = data.decode("utf-8", "surrogateescape")
    position = offset = 0
    while position < len(text):
        char = text[position]
        if "\udc80" <= char <= "\udcff":
            return offset
        end = _scan_escape(text, position)[0] if char in (_ESCAPE, _CSI) else position + 1
        offset += len(text[position:end].encode("utf-8", "surrogateescape"))
        position = end
    return None


_Handler = Callable[[VT100, list[int]], None]
_HANDLERS: dict[str, _Handler] = {
    "s": lambda screen, _: screen.save(),
    "7": lambda screen, _: screen.save(),
    "u": lambda screen, _: screen.unsave(),
    "8": lambda screen, _: screen.unsave(),
    "A": lambda screen, args: screen.move(-1, 0, args),
    "B": lambda screen, args: screen.move(1, 0, args),
    "C": lambda screen, args: screen.move(0, 1, args),
    "D": lambda screen, args: screen.move(0, -1, args),
    "K": VT100.erase_columns,
    "J": VT100.erase_lines,
    "H": VT100.home,
    "f": VT100.home,
}
