"""`debug timeline`: make a report of a trace.

Not in BuildKit. The output's name says what it becomes: `.html` a page, `.svg` the chart alone; "-" is a page on
standard output. A file takes its name once it is whole.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from pybuildkit.golang.errors import BuildkitError

if TYPE_CHECKING:
    from pybuildkit.cmd.buildctl._app import CommandContext


class TimelineError(BuildkitError):
    """The arguments do not make a report."""


def timeline(c: CommandContext) -> None:
    """Write the report of the trace that the first argument names ("-" for standard input) to `--output`.

    Raises:
        BuildkitError, OSError: the arguments are wrong, the trace cannot be read or the report cannot be written.
    """
    path, output = c.arg(0), c.string("output")
    if not path:
        raise TimelineError("a trace file is needed, or - for standard input")
    if not output:
        raise TimelineError("--output is needed: a name that ends in .html or .svg, or - for standard output")
    extension = os.path.splitext(output)[1].lower()
    if output != "-" and extension not in (".html", ".htm", ".svg"):
        raise TimelineError(f"cannot tell what {output} is to be: its name ends neither in .html nor in .svg")
    data = _report(path, is_svg=extension == ".svg")
    if output == "-":
        c.stdout.write(data)
    else:
        _write_whole(output, data)


def _report(path: str, *, is_svg: bool) -> bytes:
    from pybuildkit.cmd.buildctl.debug._replay import read_trace
    from pybuildkit.util.progress.timeline import Timeline, render_html, render_svg

    model = Timeline(read_trace(path))
    name = "standard input" if path == "-" else os.path.basename(path)
    render = render_svg if is_svg else render_html
    return render(model, f"Build timeline: {name}").encode("utf-8", "replace")


def _write_whole(output: str, data: bytes) -> None:
    from pybuildkit.third_party.continuity import atomic_write_file

    atomic_write_file(output, data, 0o666)
