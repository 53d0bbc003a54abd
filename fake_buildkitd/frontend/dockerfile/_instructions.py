"""Instructions with a meaning: typed commands, grouped in stages.

Mirrors frontend/dockerfile/instructions (parse.go, support.go), v0.32.2.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from fake_buildkitd.frontend.dockerfile import _linter as rules
from fake_buildkitd.frontend.dockerfile._commands import (
    AddCommand,
    Arg,
    ArgCommand,
    CmdCommand,
    Command,
    CopyCommand,
    EntrypointCommand,
    EnvCommand,
    ExposeCommand,
    HealthCheckCommand,
    HealthConfig,
    KeyValue,
    LabelCommand,
    MaintainerCommand,
    OnbuildCommand,
    RunCommand,
    ShellCommand,
    SourceContent,
    Stage,
    StopSignalCommand,
    UserCommand,
    VolumeCommand,
    WorkdirCommand,
)
from fake_buildkitd.frontend.dockerfile._flags import Flags
from fake_buildkitd.frontend.dockerfile._linter import Linter
from fake_buildkitd.frontend.dockerfile._location import LocationError, with_location
from fake_buildkitd.frontend.dockerfile._parser import (
    Dockerfile,
    Node,
    chomp_heredoc_content,
    must_parse_heredoc,
)
from fake_buildkitd.frontend.dockerfile._runflags import check_run_flags
from fake_buildkitd.frontend.dockerfile._text import SPACE, suggest
from pybuildkit.golang import duration
from pybuildkit.golang.errors import BuildkitError, error_text
from pybuildkit.golang.strconv import parse_int, quote

INSTRUCTIONS = [
    *("ADD", "ARG", "CMD", "COPY", "ENTRYPOINT", "ENV", "EXPOSE", "FROM", "HEALTHCHECK", "LABEL", "MAINTAINER"),
    *("ONBUILD", "RUN", "SHELL", "STOPSIGNAL", "USER", "VOLUME", "WORKDIR"),
]

_STAGE_NAME = re.compile(r"[a-z][a-z0-9\-_.]*\Z")
_ONBUILD = re.compile(r"^[\t\n\f\r ]*ONBUILD[\t\n\f\r ]*", re.IGNORECASE)


class InstructionError(BuildkitError):
    """An instruction with the wrong arguments."""


class UnknownInstructionError(InstructionError):
    """A word where an instruction should be."""


class DockerfileError(BuildkitError):
    """`dockerfile parse error on line N: REASON`."""

    def __init__(self, cause: BaseException, line: int) -> None:
        super().__init__(cause, line)
        self.line = line
        self.__cause__ = cause

    def __str__(self) -> str:
        cause = self.__cause__
        return f"dockerfile parse error on line {self.line}: {error_text(cause) if cause is not None else ''}"


def parse_instructions(dockerfile: Dockerfile, lint: Linter) -> tuple[list[Stage], list[ArgCommand]]:
    """The stages of a Dockerfile, and the ARGs before the first FROM.

    Raises:
        DockerfileError: an instruction is wrong.
        LocationError: an instruction stands before the first FROM.
    """
    stages: list[Stage] = []
    meta_args: list[ArgCommand] = []
    for node in dockerfile.nodes:
        try:
            command = parse_instruction(node, lint)
        except LocationError as err:
            raise DockerfileError(err, node.start_line) from err
        if isinstance(command, Stage):
            stages.append(command)
        elif stages:
            stages[-1].commands.append(command)
        elif isinstance(command, ArgCommand):
            meta_args.append(command)
        else:
            raise with_location(InstructionError("no build stage in current context"), node.location())
    return stages, meta_args


def parse_command(node: Node) -> Command:
    """One instruction that is not FROM (an ONBUILD trigger)."""
    command = parse_instruction(node, Linter())
    if isinstance(command, Stage):
        raise with_location(InstructionError("*instructions.Stage is not a command type"), node.location())
    return command


def parse_instruction(node: Node, lint: Linter) -> Command | Stage:
    """The meaning of one instruction.

    Raises:
        LocationError: around what is wrong with it.
    """
    lint = lint.with_comments(node.comments)
    parser = _PARSERS.get(node.value.lower())
    try:
        if parser is None:
            unknown = UnknownInstructionError(f"unknown instruction: {node.value}")
            raise suggest(unknown, node.value, INSTRUCTIONS, False)
        command = parser(node, lint)
    except BuildkitError as err:
        placed = with_location(err, node.location())
        raise placed from placed.__cause__
    if isinstance(command, Command):
        command.code = node.original.strip(SPACE)
        command.name = node.value
        command.location = node.location()
        command.comments = node.comments
    return command


def _at_least_one(node: Node, name: str) -> None:
    if not node.args:
        raise InstructionError(f"{name} requires at least one argument")


def _exactly_one(node: Node, name: str) -> None:
    if len(node.args) != 1:
        raise InstructionError(f"{name} requires exactly one argument")


def _pairs(node: Node, name: str) -> list[KeyValue]:
    Flags(node.flags)
    _at_least_one(node, name)
    args = node.args
    if any(not key for key in args[::3]):
        raise InstructionError(f"{name} names can not be blank")
    return [KeyValue(args[i], args[i + 1], args[i + 2] == "") for i in range(0, len(args), 3)]


def _env(node: Node, lint: Linter) -> Command:
    return EnvCommand(pairs=_pairs(node, "ENV"))


def _label(node: Node, lint: Linter) -> Command:
    return LabelCommand(pairs=_pairs(node, "LABEL"))


def _maintainer(node: Node, lint: Linter) -> Command:
    lint.run(
        rules.MAINTAINER_DEPRECATED, node.location(), "Maintainer instruction is deprecated in favor of using label"
    )
    _exactly_one(node, "MAINTAINER")
    Flags(node.flags)
    return MaintainerCommand(maintainer=node.args[0])


def _two_arguments(node: Node, name: str) -> None:
    if len(node.args) < 2:
        raise InstructionError(
            f"{name} requires at least two arguments, but only one was provided. Destination could not be determined"
        )


def _sources(node: Node, name: str) -> tuple[list[str], list[SourceContent]]:
    if must_parse_heredoc(node.args[-1]) is not None:
        raise InstructionError(f"{name} cannot accept a heredoc as a destination")
    files = {heredoc.name: heredoc for heredoc in node.heredocs}
    paths: list[str] = []
    contents: list[SourceContent] = []
    for source in node.args[:-1]:
        heredoc = must_parse_heredoc(source)
        if heredoc is None:
            paths.append(source)
            continue
        data = files[heredoc.name].content if heredoc.name in files else ""
        if heredoc.chomp:
            data = chomp_heredoc_content(data)
        contents.append(SourceContent(heredoc.name, data, heredoc.expand))
    return paths, contents


def _add(node: Node, lint: Linter) -> Command:
    _two_arguments(node, "ADD")
    flags = Flags(
        node.flags,
        strings=("chown", "chmod", "checksum"),
        bools=("link", "keep-git-dir", "unpack"),
        lists=("exclude",),
    )
    paths, contents = _sources(node, "ADD")
    return AddCommand(
        dest=node.args[-1],
        sources=paths,
        contents=contents,
        chown=flags.string("chown"),
        chmod=flags.string("chmod"),
        link=bool(flags.boolean("link")),
        excludes=flags.strings("exclude"),
        checksum=flags.string("checksum"),
        unpack=flags.boolean("unpack"),
        keep_git_dir=flags.boolean("keep-git-dir"),
    )


def _copy(node: Node, lint: Linter) -> Command:
    _two_arguments(node, "COPY")
    flags = Flags(node.flags, strings=("chown", "from", "chmod"), bools=("link", "parents"), lists=("exclude",))
    paths, contents = _sources(node, "COPY")
    return CopyCommand(
        dest=node.args[-1],
        sources=paths,
        contents=contents,
        chown=flags.string("chown"),
        chmod=flags.string("chmod"),
        link=bool(flags.boolean("link")),
        excludes=flags.strings("exclude"),
        from_=flags.string("from"),
        parents=bool(flags.boolean("parents")),
    )


def _from(node: Node, lint: Linter) -> Stage:
    _lint_from(node, lint)
    args = node.args
    name = ""
    if len(args) == 3 and args[1].lower() == "as":
        name = args[2].lower()
        if not _STAGE_NAME.match(name):
            raise InstructionError(
                f"invalid name for build stage: {quote(args[2])}, name can't start with a number or contain symbols"
            )
    elif len(args) != 1:
        raise InstructionError("FROM requires either one or three arguments")
    flags = Flags(node.flags, strings=("platform",))
    if name:
        _check_description("FROM", [name], node, lint)
    return Stage(
        name=name,
        base_name=args[0],
        orig_cmd=node.value,
        platform=flags.string("platform"),
        code=node.original.strip(SPACE),
        location=node.location(),
        comments=node.comments,
        doc_comment=doc_comment(node.comments, name),
    )


def _lint_from(node: Node, lint: Linter) -> None:
    args = node.args
    if len(args) == 3 and args[2] != args[2].lower():
        lint.run(rules.STAGE_NAME_CASING, node.location(), f"Stage name '{args[2]}' should be lowercase")
    if len(args) < 3:
        return
    command, word = node.value, args[1]
    lower, upper = command == command.lower(), command == command.upper()
    if (lower and word != word.lower()) or (not lower and upper and word != word.upper()):
        message = f"'{word}' and '{command}' keywords' casing do not match"
        lint.run(rules.FROM_AS_CASING, node.location(), message)


def _check_description(instruction: str, names: list[str], node: Node, lint: Linter) -> None:
    if not node.comments or not names or node.comments[-1].split(" ")[0] in names:
        return
    example = names[0] if len(names) == 1 else "<arg_key>"
    message = f"Comment for {instruction} should follow the format: `# {example} <description>`"
    lint.run(rules.INVALID_DEFINITION_DESCRIPTION, node.location(), message)


def doc_comment(comments: list[str], name: str) -> str:
    """The description of a stage or argument in the comments above it."""
    for comment in comments:
        if name and comment.startswith(name + " "):
            return comment[len(name) + 1 :]
    return ""


def _onbuild(node: Node, lint: Linter) -> Command:
    _at_least_one(node, "ONBUILD")
    Flags(node.flags)
    trigger = node.args[0].strip(SPACE).upper()
    if trigger == "ONBUILD":
        raise InstructionError("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed")
    if trigger in ("MAINTAINER", "FROM"):
        raise InstructionError(f"{trigger} isn't allowed as an ONBUILD trigger")
    expression = _ONBUILD.sub("", node.original, count=1)
    for heredoc in node.heredocs:
        expression += f"\n{heredoc.content}{heredoc.name}"
    return OnbuildCommand(expression=expression)


def _workdir(node: Node, lint: Linter) -> Command:
    _exactly_one(node, "WORKDIR")
    Flags(node.flags)
    return WorkdirCommand(path=node.args[0])


def _json_args(node: Node, args: list[str]) -> list[str]:
    """Exec form as it is; shell form as one word."""
    if not args or node.json:
        return args
    return [" ".join(args)]


def _run(node: Node, lint: Linter) -> Command:
    flags = Flags(node.flags, strings=("network", "security"), lists=("mount", "device"))
    line = _json_args(node, node.args)
    mounts = check_run_flags(flags)
    return RunCommand(cmd_line=line, files=node.heredocs, prepend_shell=not node.json, mounts=mounts)


def _cmd(node: Node, lint: Linter) -> Command:
    Flags(node.flags)
    return CmdCommand(cmd_line=_json_args(node, node.args), prepend_shell=not node.json)


def _entrypoint(node: Node, lint: Linter) -> Command:
    Flags(node.flags)
    return EntrypointCommand(cmd_line=_json_args(node, node.args), prepend_shell=not node.json)


def _interval(flags: Flags, name: str) -> int:
    value = flags.string(name)
    if not value:
        return 0
    time = duration.parse(value)
    if time != 0 and time < 1_000_000:
        raise InstructionError(f"Interval {quote(name)} cannot be less than 1ms")
    return time


def _healthcheck(node: Node, lint: Linter) -> Command:
    _at_least_one(node, "HEALTHCHECK")
    kind, args = node.args[0].upper(), node.args[1:]
    if kind == "NONE":
        if args:
            raise InstructionError("HEALTHCHECK NONE takes no arguments")
        return HealthCheckCommand(health=HealthConfig(["NONE"]))
    flags = Flags(node.flags, strings=("interval", "timeout", "start-period", "start-interval", "retries"))
    if kind != "CMD":
        raise InstructionError(f"Unknown type {quote(kind)} in HEALTHCHECK (try CMD)")
    command = _json_args(node, args)
    if not command:
        raise InstructionError("Missing command after HEALTHCHECK CMD")
    config = HealthConfig([kind if node.json else "CMD-SHELL", *command])
    config.interval = _interval(flags, "interval")
    config.timeout = _interval(flags, "timeout")
    config.start_period = _interval(flags, "start-period")
    config.start_interval = _interval(flags, "start-interval")
    if flags.string("retries"):
        config.retries = parse_int(flags.string("retries"), 10, 32)
        if config.retries < 0:
            raise InstructionError(f"--retries cannot be negative ({config.retries})")
    return HealthCheckCommand(health=config)


def _expose(node: Node, lint: Linter) -> Command:
    _at_least_one(node, "EXPOSE")
    Flags(node.flags)
    return ExposeCommand(ports=sorted(node.args))


def _user(node: Node, lint: Linter) -> Command:
    _exactly_one(node, "USER")
    Flags(node.flags)
    return UserCommand(user=node.args[0])


def _volume(node: Node, lint: Linter) -> Command:
    _at_least_one(node, "VOLUME")
    Flags(node.flags)
    volumes = [volume.strip(SPACE) for volume in node.args]
    if not all(volumes):
        raise InstructionError("VOLUME specified can not be an empty string")
    return VolumeCommand(volumes=volumes)


def _stop_signal(node: Node, lint: Linter) -> Command:
    _exactly_one(node, "STOPSIGNAL")
    return StopSignalCommand(signal=node.args[0])


def _arg(node: Node, lint: Linter) -> Command:
    _at_least_one(node, "ARG")
    args: list[Arg] = []
    for word in node.args:
        key, equals, value = word.partition("=")
        if equals and not key:
            raise InstructionError("ARG names can not be blank")
        args.append(Arg(key, value if equals else None, doc_comment(node.comments, key)))
    _check_description("ARG", [arg.key for arg in args], node, lint)
    return ArgCommand(args=args)


def _shell(node: Node, lint: Linter) -> Command:
    Flags(node.flags)
    words = _json_args(node, node.args)
    if not words:
        raise InstructionError("SHELL requires at least one argument")
    if not node.json:
        raise InstructionError("SHELL requires the arguments to be in JSON form")
    return ShellCommand(shell=words)


_PARSERS: dict[str, Callable[[Node, Linter], Command | Stage]] = {
    "add": _add,
    "arg": _arg,
    "cmd": _cmd,
    "copy": _copy,
    "entrypoint": _entrypoint,
    "env": _env,
    "expose": _expose,
    "from": _from,
    "healthcheck": _healthcheck,
    "label": _label,
    "maintainer": _maintainer,
    "onbuild": _onbuild,
    "run": _run,
    "shell": _shell,
    "stopsignal": _stop_signal,
    "user": _user,
    "volume": _volume,
    "workdir": _workdir,
}
