"""The image configuration that a Dockerfile makes.

Mirrors frontend/dockerfile/dockerfile2llb/image.go and the JSON form of the Docker image specification.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field

from fake_buildkitd.frontend.dockerfile._commands import HealthConfig
from fake_buildkitd.frontend.dockerfile._text import DEFAULT_PATH_ENV
from fake_buildkitd.image._spec import objects, read_platform
from pybuildkit.golang import json
from pybuildkit.golang.errors import BuildkitError, wrap
from pybuildkit.golang.time import rfc3339_nano
from pybuildkit.third_party.platforms import Platform

HISTORY_COMMENT = "buildkit.dockerfile.v0"
_SECOND = 1_000_000_000
_HISTORY = ("created", "created_by", "author", "comment", "empty_layer")


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
    """One instruction of the image's history; `inherited` is the entry of a base image as it was."""

    created_by: str
    empty_layer: bool
    created: int | None = None
    inherited: Mapping[str, object] | None = None


@dataclass
class Image:
    """An image's configuration; `layers` counts those of a base image."""

    platform: Platform = field(default_factory=Platform)
    author: str = ""
    config: Config = field(default_factory=Config)
    history: list[History] = field(default_factory=list)
    layers: int = 0

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
    if entry.inherited is not None:
        return dict(entry.inherited)
    out: dict[str, object] = {}
    if entry.created is not None:
        out["created"] = rfc3339_nano(entry.created * _SECOND, 0)
    out["created_by"] = entry.created_by
    out["comment"] = HISTORY_COMMENT
    if entry.empty_layer:
        out["empty_layer"] = True
    return out


def read_image(data: bytes) -> Image:
    """The configuration of a base image; the time of its making is left out.

    Raises:
        BuildkitError: no JSON object.
    """
    try:
        value = json.unmarshal(data)
    except (BuildkitError, ValueError) as err:
        raise wrap(err, "failed to parse image config") from err
    if not isinstance(value, dict):
        raise BuildkitError("failed to parse image config: no JSON object")
    image = Image(platform=read_platform(value), author=_text(value.get("author")))
    config = value.get("config")
    if isinstance(config, dict):
        image.config = _read_config(config)
    for entry in objects(value.get("history")):
        kept = {key: entry[key] for key in _HISTORY if entry.get(key)}
        image.history.append(History(_text(entry.get("created_by")), bool(entry.get("empty_layer")), inherited=kept))
    rootfs = value.get("rootfs")
    image.layers = len(_texts(rootfs.get("diff_ids"))) if isinstance(rootfs, dict) else 0
    return image


def _read_config(value: Mapping[str, object]) -> Config:
    labels = value.get("Labels")
    health = value.get("Healthcheck")
    return Config(
        user=_text(value.get("User")),
        exposed_ports=_names(value.get("ExposedPorts")),
        env=_texts(value.get("Env")),
        entrypoint=_texts(value.get("Entrypoint")),
        cmd=_texts(value.get("Cmd")),
        volumes=_names(value.get("Volumes")),
        working_dir=_text(value.get("WorkingDir")),
        labels={str(k): _text(v) for k, v in labels.items()} if isinstance(labels, dict) else {},
        stop_signal=_text(value.get("StopSignal")),
        args_escaped=value.get("ArgsEscaped") is True,
        healthcheck=_read_health(health) if isinstance(health, dict) else None,
        onbuild=_texts(value.get("OnBuild")),
        shell=_texts(value.get("Shell")),
    )


def _read_health(value: Mapping[str, object]) -> HealthConfig:
    def number(key: str) -> int:
        found = value.get(key)
        return found if isinstance(found, int) else 0

    return HealthConfig(
        test=_texts(value.get("Test")),
        interval=number("Interval"),
        timeout=number("Timeout"),
        start_period=number("StartPeriod"),
        start_interval=number("StartInterval"),
        retries=number("Retries"),
    )


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _texts(value: object) -> list[str]:
    return [each for each in value if isinstance(each, str)] if isinstance(value, list) else []


def _names(value: object) -> set[str]:
    return {str(each) for each in value} if isinstance(value, dict) else set()


def empty_image(platform: Platform) -> Image:
    """The configuration that FROM scratch starts with."""
    image = Image(platform=platform)
    image.config.working_dir = "/"
    if platform.os != "windows":
        image.config.env = [f"PATH={DEFAULT_PATH_ENV}"]
    return image
