"""What `--format` does: a Go template, or `json` for the whole value.

Mirrors ParseTemplate of cmd/buildctl/common/common.go, v0.32.2.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pybuildkit.cmd.buildctl._app import CommandContext

_ALIASES = {"json": "{{json .}}"}


def _json(value: object) -> str:
    from pybuildkit.golang import json, reflect

    return json.marshal(reflect.to_json(value), escape_html=False)


def formatter(c: CommandContext) -> Callable[[object], None] | None:
    """What prints a value as `--format` says, with a newline behind it; None where the flag is not given.

    Raises:
        ParseError: the flag's value is no template.
    """
    text = c.string("format")
    if not text:
        return None
    from pybuildkit.golang import template

    parsed = template.parse(_ALIASES.get(text, text), {"json": _json})

    def show(value: object) -> None:
        out: list[str] = []
        try:
            parsed.execute(out.append, value)
            out.append("\n")
        finally:
            c.stdout.write("".join(out))

    return show


def note_ignored_verbose(c: CommandContext) -> None:
    """Tell the debug log that `--verbose` has no part in `--format`."""
    if c.bool("verbose"):
        from pybuildkit.util import bklog

        bklog.L.debug("Ignoring --verbose")
