"""Go's text templates, the part that people use in `--format`.

Mirrors text/template of Go 1.26.

Known: fields, methods and map keys (`.A.B`), variables, pipes, parentheses, `if`, `else if`, `with`, `range` with
`else`, `break` and `continue`, `define`, `block` and `template`, comments, trimming by `{{-` and `-}}`, and the
functions and, or, not, len, index, slice, print, printf, println, html, js, urlquery, eq, ne, lt, le, gt, ge. What is
not known (`call`) is an error that names it. Values are Python's own and those of `golang.reflect`.

Differs on purpose: templates that call each other without end fail after some hundred calls, with the text of Go's
limit.
"""

from __future__ import annotations

from pybuildkit.golang.template._exec import ExecError, execute
from pybuildkit.golang.template._lex import ParseError
from pybuildkit.golang.template._parse import ListNode, parse_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["ExecError", "ParseError", "Template", "parse"]


class Template:
    """A parsed template."""

    def __init__(
        self, text: str, trees: Mapping[str, ListNode], functions: Mapping[str, Callable[..., object]]
    ) -> None:
        self._text = text
        self._trees = trees
        self._functions = functions

    def execute(self, write: Callable[[str], object], data: object) -> None:
        """Apply the template to a value.

        Args:
            write: takes the output, part by part; what came before an error has been written.

        Raises:
            ExecError: `template: :LINE:COLUMN: executing "" at <NODE>: REASON`.
        """
        execute(self._text, self._trees, self._functions, write, data)


def parse(text: str, functions: Mapping[str, Callable[..., object]] = {}) -> Template:
    """Parse a template.

    Args:
        functions: what it may call besides the functions that are always there.

    Raises:
        ParseError: `template: :LINE: REASON`.
    """
    return Template(text, parse_text(text, functions), functions)
