"""What `--version` prints. Mirrors version/version.go and the version printer of cmd/buildctl, v0.32.2.

The line keeps BuildKit's form, `NAME PACKAGE VERSION REVISION`, because scripts take it apart; the package is the one
whose protocol the program speaks.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pybuildkit.cmd.buildctl._app import CommandContext

NAME = "pybuildctl"
PACKAGE = "github.com/moby/buildkit"
VERSION = "v0.1.0"
REVISION = ""


def line() -> str:
    """The program's name, package, version and revision, as a line."""
    return f"{NAME} {PACKAGE} {VERSION} {REVISION}\n"


def print_version(c: CommandContext) -> None:
    """Print the program's version."""
    c.stdout.write(line())
