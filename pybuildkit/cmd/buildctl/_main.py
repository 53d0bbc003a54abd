"""The console script.

Mirrors the outermost part of cmd/buildctl/main.go, v0.32.2. For `--version`, which is asked often, nothing else is
loaded.
"""

from __future__ import annotations

import os
import sys

from pybuildkit.cmd.buildctl import _version

_GC_THRESHOLD = 50_000
_VERSION_FLAGS = (["--version"], ["-version"], ["-v"], ["--v"])


def main() -> None:
    """Run the program with the process' arguments, and end the process as it ends.

    A standard stream whose reader has gone away ends it by SIGPIPE, after everything is cleaned up.
    """
    from pybuildkit.cmd.buildctl.common import _std

    _std.open_closed_descriptors()
    code = 1
    try:
        if "BUILDKIT_COLORS" in os.environ:
            from pybuildkit.cmd.buildctl.common import _log
            from pybuildkit.util import bklog
            from pybuildkit.util.progress.progressui._colors import read_at_start

            bklog.set_sink(_log.early_sink(_std.Std(2, lossy=True)))
            read_at_start()
        if sys.argv[1:] in _VERSION_FLAGS:
            _std.Std(1).write(_version.line())
            code = 0
        else:
            import gc

            # Cycles are rare here, and looking for them takes a tenth of the time that starting takes, or a flood of
            # statuses.
            gc.set_threshold(_GC_THRESHOLD)
            from pybuildkit.cmd.buildctl._run import run_main

            code = run_main(sys.argv[1:], is_process=True)
    except _std.StdClosedError:
        pass  # the process ends by SIGPIPE below
    if _std.is_broken():
        _end_by_sigpipe()
    sys.exit(code)


def _end_by_sigpipe() -> None:
    """End as a program does whose reader went away."""
    import signal

    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGPIPE)
