"""Output with colours as HTML: the colours and styles of a terminal become classes of `<span>`s.

Not in BuildKit.

The sixteen named colours are known, and bold, faint, italic and underlined; other ones are left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from pybuildkit.util.progress.timeline._svg import clean_xml

_SGR = re.compile(r"\x1b\[([0-9;:]*)m")
_STYLES = frozenset({1, 2, 3, 4})
_ENDS = {22: frozenset({1, 2}), 23: frozenset({3}), 24: frozenset({4})}
_NO_COLOR = -1


class _Pen:
    """The colour and the styles that the next text has."""

    def __init__(self) -> None:
        self.color = _NO_COLOR
        self.styles: frozenset[int] = frozenset()

    def apply(self, codes: str) -> None:
        numbers = [
            int(code) if code.isdecimal() and len(code) < 5 else 0 for code in codes.replace(":", ";").split(";")
        ]
        while numbers:
            code = numbers.pop(0)
            if code in (38, 48):
                self._set_far_color(code, numbers)
            elif code == 0:
                self.color, self.styles = _NO_COLOR, frozenset()
            elif code in _STYLES:
                self.styles |= {code}
            elif code in _ENDS:
                self.styles -= _ENDS[code]
            elif 30 <= code <= 37 or 90 <= code <= 97:
                self.color = code % 10
            elif code == 39:
                self.color = _NO_COLOR

    def _set_far_color(self, code: int, numbers: list[int]) -> None:
        """Read `5;N` or `2;R;G;B`, of which only the sixteen named colours of the text are kept."""
        kind = numbers.pop(0) if numbers else 0
        values = numbers[: {5: 1, 2: 3}.get(kind, 0)]
        del numbers[: len(values)]
        if code == 38:
            self.color = values[0] % 8 if kind == 5 and values and values[0] < 16 else _NO_COLOR

    def classes(self) -> str:
        names = [f"s{style}" for style in sorted(self.styles)]
        return " ".join([*names, f"c{self.color}"] if self.color != _NO_COLOR else names)


def render_log(text: str) -> str:
    """Text, whose escape sequences all are colours and styles, as HTML."""
    return "".join(_pieces(text))


def _pieces(text: str) -> Iterator[str]:
    pen = _Pen()
    position = 0
    for match in _SGR.finditer(text):
        yield _piece(text[position : match.start()], pen.classes())
        pen.apply(match[1])
        position = match.end()
    yield _piece(text[position:], pen.classes())


def _piece(text: str, classes: str) -> str:
    if not text or not classes:
        return clean_xml(text)
    return f'<span class="{classes}">{clean_xml(text)}</span>'
