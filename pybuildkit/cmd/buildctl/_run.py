"""Running the program: flags, log, errors and exit codes.

Mirrors cmd/buildctl/main.go, v0.32.2. An error is `error: TEXT` on standard error and exit code 1; with `--debug` the
stacks of the daemon and of this program follow; source ranges and policy messages of the daemon come before it.

Differs on purpose: the first SIGHUP ends a command as SIGTERM does; a standard stream whose reader is gone ends the
program by SIGPIPE after it has cleaned up; where nothing listens at the default address and a person looks on, a
second line says which other addresses need no daemon of BuildKit's own; what an error says is cleaned for a terminal,
and gives a CI system no orders.
"""

from __future__ import annotations

import os

from pybuildkit.cmd.buildctl._app import Command, CommandContext, ExitError, run
from pybuildkit.cmd.buildctl.common._std import Std, StdClosedError
from pybuildkit.golang.errors import BuildkitError, error_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import FrameType

_PROFILES = ("profile-cpu", "profile-memory", "profile-block", "profile-mutex", "profile-trace")
_NO_DAEMON = "error while dialing"
_HINT = (
    "hint: no daemon listens there; --addr embedded:// builds without one, "
    "and --addr docker:// uses the BuildKit of a Docker Engine\n"
)


def new_app() -> Command:
    """The command tree."""
    from pybuildkit.cmd.buildctl import _commands, _version

    return Command(
        _version.NAME,
        "build with BuildKit",
        version=_version.VERSION,
        flags=_commands.global_flags(),
        commands=_commands.commands(),
        print_version=_version.print_version,
    )


def _set_up_log(c: CommandContext) -> None:
    """Send log entries to standard error in the format that the flags name; raises BuildkitError for another."""
    from pybuildkit.cmd.buildctl.common import _log
    from pybuildkit.util import bklog

    log_format = c.string("log-format")
    if log_format == "json":
        bklog.set_sink(_log.json_sink(c.stderr))
    elif log_format in ("text", ""):
        bklog.set_sink(_log.text_sink(c.stderr))
    else:
        from pybuildkit.golang import strconv

        raise BuildkitError(f"unsupported log type {strconv.quote(log_format)}")
    if c.bool("debug"):
        bklog.set_level(bklog.DEBUG)


def _interrupt(signum: int, frame: FrameType | None) -> None:
    """End what runs: a call to the daemon fails as one does whose context is cancelled."""
    import signal
    import sys

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    if "pybuildkit.rpc" not in sys.modules:
        from pybuildkit.golang.context import CanceledError

        raise CanceledError
    from pybuildkit.rpc import Code, RpcError

    raise RpcError(Code.CANCELLED, "context canceled")


def _catch_signals() -> None:
    """Let the first signal end what runs with an error, and the second end the process at once.

    As in Go a SIGINT that was ignored, such as that of a shell's background job, counts; a SIGHUP does not (nohup).
    """
    import signal

    signal.signal(signal.SIGINT, _interrupt)
    signal.signal(signal.SIGTERM, _interrupt)
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        signal.signal(signal.SIGHUP, _interrupt)


def run_main(
    argv: Sequence[str], *, stdout: Std | None = None, stderr: Std | None = None, is_process: bool = False
) -> int:
    """Run the program.

    Args:
        argv: the arguments, without the program's name.
        stdout, stderr: where it writes.
        is_process: whether the process is the program's alone, so that it may take its signals.

    Returns:
        the exit code.
    """
    stderr = stderr or Std(2, lossy=True)
    state = _State(is_process)
    root = new_app()
    root.before = state.before
    try:
        run(root, argv, stdout=stdout, stderr=stderr)
    except ExitError as err:
        if str(err):
            stderr.write(f"{err}\n")
        return err.code
    except StdClosedError:
        return 1
    except (BuildkitError, OSError) as err:
        _report(stderr, err, state)
        return 1
    finally:
        state.stop_profiles()
    return 0


class _State:
    """What the end of the program needs to know of its beginning."""

    def __init__(self, is_process: bool) -> None:
        self.is_process = is_process
        self.debug = False
        self.default_address = False
        self.stop_profiles: Callable[[], None] = lambda: None

    def before(self, c: CommandContext) -> None:
        """Note the flags and set up the log."""
        self.debug = c.bool("debug")
        self.default_address = not c.is_set("addr") and not os.environ.get("BUILDKIT_HOST")
        _set_up_log(c)
        if any(c.is_set(name) for name in _PROFILES):
            from pybuildkit.cmd.buildctl import _profile

            self.stop_profiles = _profile.start(c)
        if self.is_process:
            _catch_signals()


def _report(stderr: Std, err: BaseException, state: _State) -> None:
    """Print an error."""
    out = ""
    if err.__cause__ is not None:
        out += _details(err)
    text = error_text(err)
    out += f"error: {text}\n"
    if state.debug:
        from pybuildkit.cmd.buildctl.common._stack import format_stacks

        out += format_stacks(err)
    if "GITHUB_ACTIONS" in os.environ or "GITLAB_CI" in os.environ:
        from pybuildkit.util.progress.progressui._ci import guarded

        out = guarded(out, os.environ)
    if state.default_address and _NO_DAEMON in text.lower() and stderr.isatty():
        out += _HINT
    stderr.show(out)


def _details(err: BaseException) -> str:
    """The sources that the daemon's error points at, marked, and the messages of policies that denied."""
    from pybuildkit.solver import errdefs
    from pybuildkit.sourcepolicy import policysession

    out = "".join(errdefs.print_source(source, errors="surrogateescape") for source in errdefs.sources(err))
    for message in policysession.deny_messages(err):
        if message.message:
            out += f"policy deny: {message.message}\n"
    return out
