"""What the environment adds to flags. Mirrors cmd/buildctl/build/util.go, v0.32.2."""

from __future__ import annotations

import os

from pybuildkit.cmd.buildctl.build._build import FlagValueError
from pybuildkit.golang import strconv
from pybuildkit.golang.errors import BuildkitError
from pybuildkit.util import bklog

_PROPAGATED = ("SOURCE_DATE_EPOCH",)


def _service_v2() -> bool:
    """Whether the runner says that its cache speaks the second protocol."""
    try:
        return strconv.parse_bool(os.environ.get("ACTIONS_CACHE_SERVICE_V2", ""))
    except (BuildkitError, ValueError):
        return False


def load_github_env(attrs: dict[str, str]) -> dict[str, str]:
    """Fill in the address and the token of GitHub's cache from the variables that its runner sets.

    Args:
        attrs: the attributes given by the user, which win; changed in place.

    Raises:
        FlagValueError: neither the user nor the environment names the address or the token.
    """
    env = os.environ
    version = attrs.get("version", "2" if _service_v2() else "")
    if "url_v2" not in attrs and version == "2" and "ACTIONS_RESULTS_URL" in env:
        attrs["url_v2"] = env["ACTIONS_RESULTS_URL"]
    if "url" not in attrs:
        for name in ("ACTIONS_CACHE_URL", "ACTIONS_RESULTS_URL"):
            if name in env:
                attrs["url"] = env[name]
                break
    if "url" not in attrs and "url_v2" not in attrs:
        raise FlagValueError("cache with type gha requires url parameter to be set")
    if "token" not in attrs:
        if "ACTIONS_RUNTIME_TOKEN" not in env:
            raise FlagValueError("cache with type gha requires token parameter or $ACTIONS_RUNTIME_TOKEN")
        attrs["token"] = env["ACTIONS_RUNTIME_TOKEN"]
    return attrs


def load_opt_env() -> dict[str, str]:
    """The build arguments that are taken from the environment."""
    attrs = {}
    for name in _PROPAGATED:
        if name in os.environ:
            bklog.L.debug(f"Propagating {name} from the client env to the build arg")
            attrs["build-arg:" + name] = os.environ[name]
    return attrs
