"""Where a daemon listens and keeps its state when nothing else is said.

Mirrors util/appdefaults (unix), v0.32.2, as far as a client needs it.
"""

from __future__ import annotations

import os

ADDRESS = "unix:///run/buildkit/buildkitd.sock"
ROOT = "/var/lib/buildkit"


def user_address() -> str:
    """The address of a rootless daemon: below the first folder of XDG_RUNTIME_DIR, else the system's."""
    runtime_dir = os.environ.get("XDG_RUNTIME_DIR", "")
    if not runtime_dir:
        return ADDRESS
    return "unix://" + os.path.normpath(os.path.join(runtime_dir.split(":")[0], "buildkit", "buildkitd.sock"))


def user_root() -> str:
    """The state folder of a rootless daemon: below XDG_DATA_HOME or the home directory, else the system's."""
    data_home = os.environ.get("XDG_DATA_HOME", "")
    if data_home:
        return os.path.normpath(os.path.join(data_home.split(":")[0], "buildkit"))
    home = os.environ.get("HOME", "")
    if home:
        return os.path.normpath(os.path.join(home, ".local", "share", "buildkit"))
    return ROOT
