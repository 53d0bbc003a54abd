"""One instruction after the other: what each does to its stage's tree and image.

Mirrors dispatch and its functions in frontend/dockerfile/dockerfile2llb/convert.go, v0.32.2.

Differs on purpose: RUN becomes an operation that this daemon then refuses to run, with its name and place; of its
mounts only the names of secrets and agents are kept.
"""

from __future__ import annotations

import posixpath
import signal
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from fake_buildkitd.frontend.dockerfile import _commands as ins
from fake_buildkitd.frontend.dockerfile import _linter as rules
from fake_buildkitd.frontend.dockerfile import _validate as validate
from fake_buildkitd.frontend.dockerfile._expose import parse_ports
from fake_buildkitd.frontend.dockerfile._linter import Linter
from fake_buildkitd.frontend.dockerfile._location import Range
from fake_buildkitd.frontend.dockerfile._outline import Known, Service
from fake_buildkitd.frontend.dockerfile._runflags import Mount
from fake_buildkitd.frontend.dockerfile._shell import Lex, ShellError
from fake_buildkitd.frontend.dockerfile._state import ConvertError, StageCommand, StageState
from fake_buildkitd.frontend.dockerfile._text import join
from pybuildkit.client import llb
from pybuildkit.golang.errors import BuildkitError, wrap
from pybuildkit.golang.strconv import parse_int, quote
from pybuildkit.solver.pb import ops_pb2 as pb
from pybuildkit.third_party.patternmatcher import PatternMatcher
from pybuildkit.third_party.platforms import Platform
from pybuildkit.util import system


@dataclass(frozen=True)
class DispatchOpt:
    """What all instructions of a Dockerfile share."""

    lex: Lex
    lint: Linter
    global_args: Mapping[str, str]
    build_args: Mapping[str, str]
    context: llb.State
    source_map: llb.SourceMap | None
    target_platform: Platform
    ignored: PatternMatcher | None


def location(source_map: llb.SourceMap | None, ranges: Sequence[Range]) -> llb.ConstraintsOpt:
    """The option that notes the lines of an operation."""
    return llb.SourceMap.location(source_map, to_pb_ranges(ranges))


def to_pb_ranges(ranges: Sequence[Range]) -> list[pb.Range]:
    """Lines as messages."""
    return [pb.Range(start=pb.Position(line=each.start), end=pb.Position(line=each.end)) for each in ranges]


def expanded_name(lex: Lex, code: str, env: Mapping[str, str]) -> str:
    """The text of an instruction with its variables replaced and its name in upper case."""
    try:
        code = lex.process_word(code, env)
    except BuildkitError:
        pass
    name, space, rest = code.partition(" ")
    return name.upper() + space + rest


def dispatch(state: StageState, step: StageCommand, opt: DispatchOpt) -> None:
    """Apply an instruction to its stage.

    Raises:
        BuildkitError: the instruction cannot be applied.
    """
    command = step.command
    lint = opt.lint.with_comments(command.comments)
    state.in_onbuild = step.is_onbuild
    _expand(state, command, opt, lint)
    if isinstance(command, ins.CopyCommand):
        _dispatch_copy(state, step, command, opt, lint)
        return
    handler = _HANDLERS.get(type(command))
    if handler is not None:
        handler(state, command, opt, lint)


def _expand(state: StageState, command: ins.Command, opt: DispatchOpt, lint: Linter) -> None:
    def expander(lex: Lex) -> Callable[[str], str]:
        def expand(word: str) -> str:
            return _expand_word(state, command, lex, word, lint)

        return expand

    if not isinstance(command, ins.ArgCommand):
        command.expand(expander(opt.lex))
    if isinstance(command, ins.CopyCommand):
        command.expand_raw(expander(Lex("\\", skip_process_quotes=True)))


def _expand_word(state: StageState, command: ins.Command, lex: Lex, word: str, lint: Linter) -> str:
    """A word with its variables replaced; unknown ones are reported, also where the word cannot be read."""
    unmatched: AbstractSet[str] = frozenset()
    try:
        expansion = lex.process(word, state.env)
        unmatched = expansion.unmatched
        return expansion.result
    except ShellError as err:
        unmatched = err.unmatched
        raise
    finally:
        validate.report_unmatched(command.location, state.build_args, state.env, unmatched, lint)


def _dispatch_copy(
    state: StageState, step: StageCommand, command: ins.CopyCommand, opt: DispatchOpt, lint: Linter
) -> None:
    from fake_buildkitd.frontend.dockerfile._copy import dispatch_copy

    source = opt.context
    ignored = opt.ignored
    if step.source is not None:
        if not step.source.dispatched:
            raise ConvertError(
                f"cannot copy from stage {quote(command.from_)}, it needs to be defined before current stage "
                f"{quote(state.name)}"
            )
        source, ignored = step.source.state, None
    dispatch_copy(state, command, source, ignored, opt, lint)
    if step.source is not None:
        step.source.paths.update(join("/", path) for path in command.sources)
    if step.source is None:
        for path in command.sources:
            if not path.startswith(("http://", "https://")) or not isinstance(command, ins.AddCommand):
                state.context_paths.add(join("/", path))


def _maintainer(state: StageState, command: ins.MaintainerCommand, opt: DispatchOpt, lint: Linter) -> None:
    state.image.author = command.maintainer
    _commit(state, f"MAINTAINER {command.maintainer}")


def _commit(state: StageState, message: str, *, layer: bool = False, with_state: bool = False) -> None:
    state.image.commit(message, layer=layer, with_state=with_state, epoch=state.epoch)


def _report_legacy(command: ins.KeyValuesCommand, pair: ins.KeyValue, lint: Linter) -> None:
    if pair.no_delim:
        name = command.name
        message = f'"{name} key=value" should be used instead of legacy "{name} key value" format'
        lint.run(rules.LEGACY_KEY_VALUE_FORMAT, command.location, message)


def _env(state: StageState, command: ins.EnvCommand, opt: DispatchOpt, lint: Linter) -> None:
    for pair in command.pairs:
        _report_legacy(command, pair, lint)
        validate.report_secret("ENV", pair.key, command.location, lint)
        state.set_env(pair.key, pair.value)
        state.image.config.add_env(pair.key, pair.value)
    _commit(state, "ENV" + "".join(f" {pair}" for pair in command.pairs))


def _label(state: StageState, command: ins.LabelCommand, opt: DispatchOpt, lint: Linter) -> None:
    for pair in command.pairs:
        _report_legacy(command, pair, lint)
        state.image.config.labels[pair.key] = pair.value
    _commit(state, "LABEL" + "".join(f" {pair}" for pair in command.pairs))


def _run(state: StageState, command: ins.RunCommand, opt: DispatchOpt, lint: Linter) -> None:
    state.paths.add("/")
    code = command.code
    if command.files and command.prepend_shell:
        first = command.files[0].content.strip().split("\n")
        code += f" ({first[0].rstrip()}{'...' if len(first) > 1 else ''})"
    for mount in command.parsed:
        mount.check_target(state.directory)
        _capture_service(state, mount, command)
    args = _with_shell(state, command.cmd_line) if command.prepend_shell else command.cmd_line
    lex = Lex(opt.lex.escape, raw_quotes=True, skip_unset_env=True)
    name = state.prefix(expanded_name(lex, code, state.env), state.platform)
    options: list[llb.ConstraintsOpt] = [llb.with_custom_name(name), location(opt.source_map, command.location)]
    if state.ignore_cache:
        options.append(llb.ignore_cache)
    state.state = state.state.dir(state.directory).run(llb.args(args or [""]), *options).root()
    _commit(state, "RUN " + " ".join(args), layer=True, with_state=True)


def _capture_service(state: StageState, mount: Mount, command: ins.RunCommand) -> None:
    if not mount.is_service:
        return
    if mount.type == "ssh" and mount.source:
        raise ConvertError("ssh does not support source")
    name = mount.id or "default"
    if mount.type == "secret":
        name = mount.source or mount.id or posixpath.basename(mount.target.rstrip("/"))
    state.capture.add_service(mount.type, Service(name, mount.required, command.location))


def _with_shell(state: StageState, args: Sequence[str]) -> list[str]:
    usual = ["cmd", "/S", "/C"] if state.image.platform.os == "windows" else ["/bin/sh", "-c"]
    return [*(state.image.config.shell or usual), " ".join(args)]


def set_workdir(state: StageState, path: str, os: str) -> str:
    """Change a stage's working directory; the new one, with slashes on every system."""
    try:
        directory = system.normalize_workdir(state.image.config.working_dir, path, os)
    except BuildkitError as err:
        raise wrap(err, "normalizing workdir") from err
    state.image.config.working_dir = directory
    state.directory = system.to_slash(directory, os)
    return state.directory


def _workdir(state: StageState, command: ins.WorkdirCommand, opt: DispatchOpt, lint: Linter) -> None:
    platform = state.platform or opt.target_platform
    if not state.workdir_set and not system.is_abs(command.path, platform.os):
        message = f"Relative workdir {quote(command.path)} can have unexpected results if the base image changes"
        lint.run(rules.WORKDIR_RELATIVE_PATH, command.location, message)
    state.workdir_set = True
    directory = set_workdir(state, command.path, platform.os)
    if directory == "/":
        _commit(state, f"WORKDIR {directory}")
        return
    options: list[llb.MkdirOption] = [llb.with_parents(True)]
    if state.image.config.user:
        options.append(llb.with_user(state.image.config.user))
    if state.epoch is not None:
        options.append(llb.with_created_time(state.epoch * 1_000_000_000))
    name = state.prefix(expanded_name(opt.lex, command.code, state.env), platform)
    state.state = state.state.file(
        llb.mkdir(directory, 0o755, *options),
        llb.with_custom_name(name),
        location(opt.source_map, command.location),
        llb.platform(platform),
    )
    _commit(state, f"WORKDIR {directory}", layer=True)


def _onbuild(state: StageState, command: ins.OnbuildCommand, opt: DispatchOpt, lint: Linter) -> None:
    state.image.config.onbuild.append(command.expression)


def _shell_form(state: StageState, command: ins.ShellDependentCommand, lint: Linter) -> list[str]:
    if not command.prepend_shell:
        return command.cmd_line
    if not state.image.config.shell:
        message = f"JSON arguments recommended for {command.name} to prevent unintended behavior related to OS signals"
        lint.run(rules.JSON_ARGS_RECOMMENDED, command.location, message)
    return _with_shell(state, command.cmd_line)


def _quoted(words: Sequence[str]) -> str:
    return "[" + " ".join(quote(word) for word in words) + "]"


def _cmd(state: StageState, command: ins.CmdCommand, opt: DispatchOpt, lint: Linter) -> None:
    validate.report_used_twice(state, "cmd", command, lint)
    state.image.config.cmd = _shell_form(state, command, lint)
    state.image.config.args_escaped = True
    _commit(state, f"CMD {_quoted(state.image.config.cmd)}")


def _entrypoint(state: StageState, command: ins.EntrypointCommand, opt: DispatchOpt, lint: Linter) -> None:
    validate.report_used_twice(state, "entrypoint", command, lint)
    state.image.config.entrypoint = _shell_form(state, command, lint)
    if "cmd" not in state.used_once:
        state.image.config.cmd = []
    _commit(state, f"ENTRYPOINT {_quoted(state.image.config.entrypoint)}")


def _healthcheck(state: StageState, command: ins.HealthCheckCommand, opt: DispatchOpt, lint: Linter) -> None:
    from pybuildkit.golang import duration

    validate.report_used_twice(state, "healthcheck", command, lint)
    health = state.image.config.healthcheck = command.health
    times = (
        f"Interval:{duration.string(health.interval)} Timeout:{duration.string(health.timeout)} "
        f"StartPeriod:{duration.string(health.start_period)} StartInterval:{duration.string(health.start_interval)}"
    )
    _commit(state, f"HEALTHCHECK {{Test:[{' '.join(health.test)}] {times} Retries:{health.retries}}}")


def _expose(state: StageState, command: ins.ExposeCommand, opt: DispatchOpt, lint: Linter) -> None:
    ports = [word for port in command.ports for word in opt.lex.process_words(port, state.env)]
    exposed = parse_ports(ports, lambda rule, message: lint.run(rule, command.location, message))
    state.image.config.exposed_ports.update(exposed)
    _commit(state, f"EXPOSE [{' '.join(exposed)}]")


def _user(state: StageState, command: ins.UserCommand, opt: DispatchOpt, lint: Linter) -> None:
    state.image.config.user = command.user
    _commit(state, f"USER {command.user}")


def _volume(state: StageState, command: ins.VolumeCommand, opt: DispatchOpt, lint: Linter) -> None:
    if not all(command.volumes):
        raise ConvertError("VOLUME specified can not be an empty string")
    state.image.config.volumes.update(command.volumes)
    _commit(state, f"VOLUME [{' '.join(command.volumes)}]")


def _stop_signal(state: StageState, command: ins.StopSignalCommand, opt: DispatchOpt, lint: Linter) -> None:
    _check_signal(command.signal)
    state.image.config.stop_signal = command.signal
    _commit(state, f"STOPSIGNAL {command.signal}")


def _check_signal(name: str) -> None:
    try:
        number = parse_int(name, 10, 64)
    except BuildkitError:
        bare = name.upper().removeprefix("SIG")
        realtime = bare.startswith(("RTMIN", "RTMAX"))
        if not realtime and f"SIG{bare}" not in signal.Signals.__members__:
            raise ConvertError(f"invalid signal: {name}") from None
        return
    if number == 0:
        raise ConvertError(f"invalid signal: {name}")


def _shell(state: StageState, command: ins.ShellCommand, opt: DispatchOpt, lint: Linter) -> None:
    state.image.config.shell = command.shell
    _commit(state, f"SHELL [{' '.join(command.shell)}]")


def _arg(state: StageState, command: ins.ArgCommand, opt: DispatchOpt, lint: Linter) -> None:
    texts: list[str] = []
    for declared in command.args:
        validate.report_secret("ARG", declared.key, command.location, lint)
        arg = ins.Arg(declared.key, declared.value, declared.doc_comment)
        inherited = False
        if arg.key in opt.build_args:
            arg.value = opt.build_args[arg.key]
        elif arg.value is None:
            arg.value = opt.global_args.get(arg.key)
            inherited = arg.value is not None
        else:
            arg.value = _expand_word(state, command, opt.lex, arg.value, lint)
        if arg.value is not None and arg.key not in validate.NON_ENV_ARGS:
            state.set_env(arg.key, arg.value)
        if not inherited:
            known = Known(arg.key, arg.value or "", arg.doc_comment, command.location)
            state.capture.args[arg.key] = known
        state.capture.use([arg.key])
        state.build_args.append(arg)
        texts.append(arg.key if arg.value is None else f"{arg.key}={arg.value}")
    _commit(state, "ARG " + " ".join(texts))


_HANDLERS: dict[type[ins.Command], Callable[..., None]] = {
    ins.MaintainerCommand: _maintainer,
    ins.EnvCommand: _env,
    ins.LabelCommand: _label,
    ins.RunCommand: _run,
    ins.WorkdirCommand: _workdir,
    ins.OnbuildCommand: _onbuild,
    ins.CmdCommand: _cmd,
    ins.EntrypointCommand: _entrypoint,
    ins.HealthCheckCommand: _healthcheck,
    ins.ExposeCommand: _expose,
    ins.UserCommand: _user,
    ins.VolumeCommand: _volume,
    ins.StopSignalCommand: _stop_signal,
    ins.ShellCommand: _shell,
    ins.ArgCommand: _arg,
}
