"""`--ssh`. Mirrors cmd/buildctl/build/ssh.go, v0.32.2."""

from __future__ import annotations

from collections.abc import Iterable

from pybuildkit.cmd.buildctl.build._build import FlagValueError
from pybuildkit.golang import strconv
from pybuildkit.golang.errors import BuildkitError, wrap
from pybuildkit.session.sshforward.sshprovider import AgentConfig


def parse_ssh(values: Iterable[str]) -> list[AgentConfig]:
    """The agents, key files and sockets to forward: `ID[=PATH[,PATH…][,raw=BOOL]]`.

    Raises:
        BuildkitError: `raw` is no truth value, or goes with other than one path.
    """
    return [_config(value) for value in values]


def _config(value: str) -> AgentConfig:
    name, equals, rest = value.partition("=")
    paths: list[str] = []
    raw = False
    for part in rest.split(",") if equals else ():
        key, has_value, text = part.partition("=")
        if key == "raw" and has_value:
            try:
                raw = strconv.parse_bool(text)
            except (BuildkitError, ValueError) as err:
                raise wrap(err, f"invalid value for 'raw': {text}") from err
        else:
            paths.append(part)
    if raw and len(paths) != 1:
        raise FlagValueError(f"raw mode must supply exactly one socket path for {strconv.quote(name)}")
    return AgentConfig(id=name, paths=paths, raw=raw)
