"""What is known of each stage while a Dockerfile is converted.

Mirrors dispatchState, dispatchStates and prefixCommand of frontend/dockerfile/dockerfile2llb/convert.go, v0.32.2.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from fake_buildkitd.frontend.dockerfile._commands import Arg, Command, Stage
from fake_buildkitd.frontend.dockerfile._image import Image
from fake_buildkitd.frontend.dockerfile._location import Range
from fake_buildkitd.frontend.dockerfile._outline import Capture
from fake_buildkitd.frontend.dockerfile._text import clean
from pybuildkit.client import llb
from pybuildkit.golang.errors import BuildkitError
from pybuildkit.third_party import platforms
from pybuildkit.third_party.platforms import Platform


class ConvertError(BuildkitError):
    """A Dockerfile that cannot be converted."""


class NamedContext(Protocol):
    """What a build option puts in the place of an image or a stage."""

    def load(self) -> tuple[llb.State, Image | None]:
        """Its tree, and the configuration where it is an image; blocks."""


@dataclass(eq=False)
class StageCommand:
    """An instruction of a stage, with the stage that it copies from."""

    command: Command
    source: StageState | None = None
    is_onbuild: bool = False


@dataclass(eq=False)
class StageState:
    """A stage: its tree, image and environment so far.

    Args:
        context_paths: what it reads of the build's context.
        paths: what is read of its own tree; stages on top of each other share them.
    """

    stage: Stage
    name: str
    epoch: int | None = None
    prefix_platform: bool = False
    state: llb.State = field(default_factory=llb.scratch)
    image: Image = field(default_factory=Image)
    platform: Platform | None = None
    base: StageState | None = None
    context: NamedContext | None = None
    base_config: bytes | None = None
    dispatched: bool = False
    resolved: bool = False
    unregistered: bool = False
    onbuild_done: bool = False
    ignore_cache: bool = False
    workdir_set: bool = False
    env: dict[str, str] = field(default_factory=dict)
    directory: str = "/"
    deps: dict[StageState, Command] = field(default_factory=dict)
    commands: list[StageCommand] = field(default_factory=list)
    build_args: list[Arg] = field(default_factory=list)
    capture: Capture = field(default_factory=Capture)
    context_paths: set[str] = field(default_factory=set)
    paths: set[str] = field(default_factory=set)
    total: int = 0
    index: int = 0
    in_onbuild: bool = False
    used_once: dict[str, list[Range]] = field(default_factory=dict)

    def init_from_base(self) -> None:
        """Take over what the base stage has made."""
        base = self.base
        if base is None:
            return
        self.state = base.state
        self.platform = base.platform
        self.image = base.image.clone()
        self.image.config.onbuild = []
        self.base_config = base.base_config
        self.paths = base.paths
        self.workdir_set = base.workdir_set
        self.build_args = [*self.build_args, *base.build_args]

    def set_env(self, key: str, value: str) -> None:
        """Set a variable of the stage's environment."""
        self.env.pop(key, None)
        self.env[key] = value

    def prefix(self, text: str, platform: Platform | None) -> str:
        """The step's name, `[STAGE INDEX/TOTAL] TEXT`; counts the step."""
        if self.total == 0:
            return text
        out = "["
        if self.prefix_platform and platform is not None:
            out += platforms.format_all(platform) + cross_platform(platform, platform_from_env(self.env)) + " "
        if self.name:
            out += self.name + " "
        self.index += 1
        out += f"{self.index:{int(1 + math.log10(self.total))}d}/{self.total}] "
        return out + ("ONBUILD " if self.in_onbuild else "") + text


def cross_platform(base: Platform, target: Platform | None) -> str:
    """The second platform of a step that builds for another one, `->ARCH`."""
    if target is None:
        return ""
    target = platforms.normalize(
        Platform(
            os=target.os or base.os,
            architecture=target.architecture or base.architecture,
            variant=target.variant,
        )
    )
    if target.os != base.os:
        return "->" + platforms.format_all(target)
    if target.architecture != base.architecture:
        return f"->{target.architecture}" + (f"/{target.variant}" if target.variant else "")
    return ""


def platform_from_env(env: Mapping[str, str]) -> Platform | None:
    """The platform that the TARGET… variables name, or None where none is set."""
    found: dict[str, str] = {}
    for key, value in env.items():
        if key == "TARGETPLATFORM":
            try:
                return platforms.parse(value)
            except BuildkitError:
                continue
        part = {"TARGETOS": "os", "TARGETARCH": "architecture", "TARGETVARIANT": "variant"}.get(key)
        if part is not None:
            found[part] = value
    if not found:
        return None
    return Platform(
        os=found.get("os", ""), architecture=found.get("architecture", ""), variant=found.get("variant", "")
    )


class StageStates:
    """All stages, in order and by name."""

    def __init__(self) -> None:
        self.all: list[StageState] = []
        self._by_name: dict[str, StageState] = {}

    def add(self, stage: StageState) -> None:
        """Add a stage; one whose base is a known stage gets it."""
        self.all.append(stage)
        base = self._by_name.get(stage.stage.base_name)
        if base is not None:
            stage.base = base
            stage.capture = base.capture.clone()
        if stage.stage.name:
            self._by_name[stage.stage.name.lower()] = stage

    def names(self) -> list[str]:
        """The names of the stages."""
        return [stage.name for stage in self.all if stage.name]

    def by_name(self, name: str) -> StageState | None:
        """The stage with a name, in upper or lower case."""
        return self._by_name.get(name.lower())

    def by_index(self, index: int) -> StageState:
        """The stage with a number."""
        if not 0 <= index < len(self.all):
            raise ConvertError(f"invalid stage index {index}")
        return self.all[index]


def reachable(stage: StageState) -> dict[StageState, None]:
    """The stages that a stage needs, itself included."""
    found: dict[StageState, None] = {}
    pending = [stage]
    while pending:
        current = pending.pop()
        if current in found:
            continue
        found[current] = None
        if current.base is not None:
            pending.append(current.base)
        pending += current.deps
    return found


def follow_paths(paths: set[str]) -> list[str]:
    """The paths to ask of a local source; none where everything is needed."""
    if not paths or "/" in paths:
        return []
    return sorted(clean("." + path if path.startswith("/") else path) for path in paths)
