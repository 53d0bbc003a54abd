"""The instructions of a Dockerfile as values, and the stages that they are grouped in.

Mirrors frontend/dockerfile/instructions/commands.go, v0.32.2.

Differs on purpose: of RUN only its name and its mistakes matter, since this daemon runs no processes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from fake_buildkitd.frontend.dockerfile._location import Range
from fake_buildkitd.frontend.dockerfile._parser import Heredoc
from fake_buildkitd.frontend.dockerfile._runflags import Mount, parse_mount

Expander = Callable[[str], str]


@dataclass(kw_only=True)
class Command:
    """What all instructions have: their source text, their name as written, and their place."""

    code: str = ""
    name: str = ""
    location: list[Range] = field(default_factory=list)
    comments: list[str] = field(default_factory=list)

    def expand(self, expander: Expander) -> None:
        """Replace the variables in the command's words."""


@dataclass
class KeyValue:
    """One `name=value`; `no_delim` marks the old form `NAME value`."""

    key: str
    value: str
    no_delim: bool = False

    def __str__(self) -> str:
        return f"{self.key}={self.value}"


@dataclass(kw_only=True)
class KeyValuesCommand(Command):
    """ENV and LABEL."""

    pairs: list[KeyValue]

    def expand(self, expander: Expander) -> None:
        self.pairs = [KeyValue(expander(kv.key), expander(kv.value), kv.no_delim) for kv in self.pairs]


class EnvCommand(KeyValuesCommand):
    """ENV."""


class LabelCommand(KeyValuesCommand):
    """LABEL."""


@dataclass(kw_only=True)
class MaintainerCommand(Command):
    """MAINTAINER."""

    maintainer: str


@dataclass
class SourceContent:
    """A file given in the Dockerfile."""

    path: str
    data: str
    expand: bool


@dataclass(kw_only=True)
class CopyCommand(Command):
    """COPY, and what ADD shares with it."""

    dest: str
    sources: list[str]
    contents: list[SourceContent]
    chown: str = ""
    chmod: str = ""
    link: bool = False
    excludes: list[str] = field(default_factory=list)
    from_: str = ""
    parents: bool = False

    def expand(self, expander: Expander) -> None:
        self.chown = expander(self.chown)
        self.chmod = expander(self.chmod)
        self.sources = [expander(source) for source in self.sources]
        self.dest = expander(self.dest)

    def expand_raw(self, expander: Expander) -> None:
        """Replace the variables in the files of the command, quotes untouched."""
        for content in self.contents:
            if content.expand:
                content.data = expander(content.data)


@dataclass(kw_only=True)
class AddCommand(CopyCommand):
    """ADD."""

    checksum: str = ""
    unpack: bool | None = None
    keep_git_dir: bool | None = None

    def expand(self, expander: Expander) -> None:
        self.chown = expander(self.chown)
        self.chmod = expander(self.chmod)
        self.checksum = expander(self.checksum)
        self.sources = [expander(source) for source in self.sources]
        self.dest = expander(self.dest)


@dataclass(kw_only=True)
class OnbuildCommand(Command):
    """ONBUILD."""

    expression: str


@dataclass(kw_only=True)
class WorkdirCommand(Command):
    """WORKDIR."""

    path: str

    def expand(self, expander: Expander) -> None:
        self.path = expander(self.path)


@dataclass(kw_only=True)
class ShellDependentCommand(Command):
    """CMD, ENTRYPOINT and RUN: a command line, in shell form where `prepend_shell`."""

    cmd_line: list[str]
    files: list[Heredoc] = field(default_factory=list)
    prepend_shell: bool = False


@dataclass(kw_only=True)
class RunCommand(ShellDependentCommand):
    """RUN; `mounts` are its `--mount` flags as written, `parsed` what they mean once variables have values."""

    mounts: list[str] = field(default_factory=list)
    parsed: list[Mount] = field(default_factory=list)

    def expand(self, expander: Expander) -> None:
        self.parsed = [parse_mount(mount, expander) for mount in self.mounts]


class CmdCommand(ShellDependentCommand):
    """CMD."""


class EntrypointCommand(ShellDependentCommand):
    """ENTRYPOINT."""


@dataclass
class HealthConfig:
    """HEALTHCHECK's settings; times in nanoseconds, 0 for inherited ones."""

    test: list[str]
    interval: int = 0
    timeout: int = 0
    start_period: int = 0
    start_interval: int = 0
    retries: int = 0


@dataclass(kw_only=True)
class HealthCheckCommand(Command):
    """HEALTHCHECK."""

    health: HealthConfig


@dataclass(kw_only=True)
class ExposeCommand(Command):
    """EXPOSE."""

    ports: list[str]


@dataclass(kw_only=True)
class UserCommand(Command):
    """USER."""

    user: str

    def expand(self, expander: Expander) -> None:
        self.user = expander(self.user)


@dataclass(kw_only=True)
class VolumeCommand(Command):
    """VOLUME."""

    volumes: list[str]

    def expand(self, expander: Expander) -> None:
        self.volumes = [expander(volume) for volume in self.volumes]


@dataclass(kw_only=True)
class StopSignalCommand(Command):
    """STOPSIGNAL."""

    signal: str

    def expand(self, expander: Expander) -> None:
        self.signal = expander(self.signal)


@dataclass
class Arg:
    """One name of an ARG, with its default value if it has one."""

    key: str
    value: str | None = None
    doc_comment: str = ""


@dataclass(kw_only=True)
class ArgCommand(Command):
    """ARG."""

    args: list[Arg]


@dataclass(kw_only=True)
class ShellCommand(Command):
    """SHELL."""

    shell: list[str]


@dataclass(kw_only=True)
class Stage:
    """A FROM and the instructions behind it."""

    name: str
    base_name: str
    orig_cmd: str
    platform: str
    code: str
    location: list[Range]
    comments: list[str]
    doc_comment: str
    commands: list[Command] = field(default_factory=list)
