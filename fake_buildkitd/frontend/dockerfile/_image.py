"""The image configuration that a Dockerfile makes.

Mirrors frontend/dockerfile/dockerfile2llb/image.go and the JSON form of the Docker image specification.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field

from fake_buildkitd.frontend.dockerfile._instructions import HealthConfig
from fake_buildkitd.frontend.dockerfile._text import DEFAULT_PATH_ENV
from pybuildkit.golang import json
from pybuildkit.golang.time import rfc3339_nano
from pybuildkit.third_party.platforms import Platform

HISTORY_COMMENT = "buildkit.dockerfile.v0"
_SECOND = 1_000_000_000


@dataclass
class Config:
    """What a container of the image starts with."""

    user: str = ""
    exposed_ports: set[str] = field(default_factory=set)
    env: list[str] = field(default_factory=list)
    entrypoint: list[str] = field(default_factory=list)
    cmd: list[str] = field(default_factory=list)
    volumes: set[str] = field(default_factory=set)
    working_dir: str = ""
    labels: dict[str, str] = field(default_factory=dict)
    stop_signal: str = ""
    args_escaped: bool = False
    healthcheck: HealthConfig | None = None
    onbuild: list[str] = field(default_factory=list)
    shell: list[str] = field(default_factory=list)

    def add_env(self, key: str, value: str) -> None:
        """Set a variable, at its old place where it has one."""
        for position, entry in enumerate(self.env):
            if entry.partition("=")[0] == key:
                self.env[position] = f"{key}={value}"
                return
        self.env.append(f"{key}={value}")

    def to_json(self) -> dict[str, object]:
        """The configuration's JSON object, empty values left out."""
        health = self.healthcheck
        fields: dict[str, object] = {
            "User": self.user,
            "ExposedPorts": {port: {} for port in sorted(self.exposed_ports)},
            "Env": self.env,
            "Entrypoint": self.entrypoint,
            "Cmd": self.cmd,
            "Volumes": {volume: {} for volume in sorted(self.volumes)},
            "WorkingDir": self.working_dir,
            "Labels": dict(sorted(self.labels.items())),
            "StopSignal": self.stop_signal,
            "ArgsEscaped": self.args_escaped,
            "Healthcheck": _health_json(health) if health is not None else None,
            "OnBuild": self.onbuild,
            "Shell": self.shell,
        }
        return {key: value for key, value in fields.items() if value or (key == "Healthcheck" and health)}


def _health_json(health: HealthConfig) -> dict[str, object]:
    fields: dict[str, object] = {
        "Test": health.test,
        "Interval": health.interval,
        "Timeout": health.timeout,
        "StartPeriod": health.start_period,
        "StartInterval": health.start_interval,
        "Retries": health.retries,
    }
    return {key: value for key, value in fields.items() if value}


@dataclass
class History:
    """One instruction of the image's history."""

    created_by: str
    empty_layer: bool
    created: int | None = None


@dataclass
class Image:
    """An image's configuration."""

    platform: Platform = field(default_factory=Platform)
    author: str = ""
    config: Config = field(default_factory=Config)
    history: list[History] = field(default_factory=list)

    def clone(self) -> Image:
        """A copy that can be changed alone."""
        return copy.deepcopy(self)

    def commit(self, message: str, *, layer: bool, with_state: bool, epoch: int | None) -> None:
        """Add an instruction to the history; `epoch` is its time in seconds."""
        if with_state:
            message += " # buildkit"
        self.history.append(History(message, not layer, epoch))

    def to_json(self) -> str:
        """The configuration's JSON text, in the order that Go gives it."""
        out: dict[str, object] = {}
        if self.author:
            out["author"] = self.author
        out["architecture"] = self.platform.architecture
        out["os"] = self.platform.os
        if self.platform.os_version:
            out["os.version"] = self.platform.os_version
        if self.platform.os_features:
            out["os.features"] = list(self.platform.os_features)
        if self.platform.variant:
            out["variant"] = self.platform.variant
        out["rootfs"] = {"type": "layers", "diff_ids": None}
        if self.history:
            out["history"] = [_history_json(entry) for entry in self.history]
        out["config"] = self.config.to_json()
        return json.marshal(out)


def _history_json(entry: History) -> dict[str, object]:
    out: dict[str, object] = {}
    if entry.created is not None:
        out["created"] = rfc3339_nano(entry.created * _SECOND, 0)
    out["created_by"] = entry.created_by
    out["comment"] = HISTORY_COMMENT
    if entry.empty_layer:
        out["empty_layer"] = True
    return out


def empty_image(platform: Platform) -> Image:
    """The configuration that FROM scratch starts with."""
    image = Image(platform=platform)
    image.config.working_dir = "/"
    if platform.os != "windows":
        image.config.env = [f"PATH={DEFAULT_PATH_ENV}"]
    return image
