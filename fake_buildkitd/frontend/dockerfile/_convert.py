"""From a Dockerfile to a build graph and an image configuration.

Mirrors toDispatchState of frontend/dockerfile/dockerfile2llb/convert.go, v0.32.2, in its order: parse, stages,
target, stage graph, base images, instructions, image.

Differs on purpose: base images are resolved one after the other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from fake_buildkitd.frontend.dockerfile import _commands as ins
from fake_buildkitd.frontend.dockerfile import _linter as rules
from fake_buildkitd.frontend.dockerfile import _validate as validate
from fake_buildkitd.frontend.dockerfile._dispatch import DispatchOpt, dispatch, location, set_workdir
from fake_buildkitd.frontend.dockerfile._epoch import stage_source
from fake_buildkitd.frontend.dockerfile._image import Image, empty_image, read_image
from fake_buildkitd.frontend.dockerfile._instructions import parse_command, parse_instructions
from fake_buildkitd.frontend.dockerfile._linter import LintConfig, Linter, Warn, parse_lint_options
from fake_buildkitd.frontend.dockerfile._location import LocationError, Range, set_location, with_location
from fake_buildkitd.frontend.dockerfile._outline import Capture
from fake_buildkitd.frontend.dockerfile._parser import parse, parse_directive
from fake_buildkitd.frontend.dockerfile._shell import Lex
from fake_buildkitd.frontend.dockerfile._state import (
    ConvertError,
    NamedContext,
    StageCommand,
    StageState,
    StageStates,
    follow_paths,
    reachable,
)
from fake_buildkitd.frontend.dockerfile._text import DEFAULT_PATH_ENV, suggest
from pybuildkit.client import llb
from pybuildkit.golang.errors import BuildkitError, wrap
from pybuildkit.golang.strconv import atoi, parse_int, quote
from pybuildkit.third_party import patternmatcher, platforms
from pybuildkit.third_party.distribution import reference
from pybuildkit.third_party.patternmatcher import PatternMatcher
from pybuildkit.third_party.platforms import Platform

_COMMON_IMAGES = [
    text.format(name)
    for name in ("alpine", "busybox", "centos", "debian", "golang", "ubuntu", "fedora")
    for text in ("{}", "docker.io/library{}", "{}:latest", "docker.io/library{}:latest")
]


PathsFunc = Callable[[], Sequence[str]]


@dataclass(frozen=True, kw_only=True)
class ConvertOpt:
    """How to convert a Dockerfile.

    Args:
        build_args, labels, target: as the options of those names.
        no_cache: tells whether a stage's steps must run again.
        target_platform: None for the daemon's own.
        multi_platform: whether steps are shown with their platform.
        source_map: notes the lines of operations.
        main_context: makes the context's state, given what is ignored and the paths that are needed (none:
            everything).
        resolve_image: gives the digest and the configuration of a base image; blocks.
        named_context: gives what stands in the place of a name for a platform, or None; its last argument tells, once
            everything else is known, which paths are needed (none: everything).
        epoch: gives the time of a state's source in seconds, or None, in a step of the given name; blocks.
        warn: takes violations of checks.
        lint_config: the checks that an option asks for; None for those of the file.
        all_stages: whether stages that the target does not need are converted too.
    """

    build_args: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    target: str = ""
    no_cache: Callable[[str], bool] = lambda name: False
    build_platform: Platform = field(default_factory=platforms.default_spec)
    target_platform: Platform | None = None
    multi_platform: bool = False
    source_map: llb.SourceMap | None = None
    main_context: Callable[[Sequence[str], Sequence[str]], llb.State]
    resolve_image: Callable[[str, Platform, str], tuple[str, bytes]]
    named_context: Callable[[str, Platform | None, PathsFunc], NamedContext | None] = lambda name, platform, paths: None
    epoch: Callable[[llb.State, str], int | None] = lambda state, name: None
    warn: Warn | None = None
    lint_config: LintConfig | None = None
    all_stages: bool = False


@dataclass
class Converted:
    """What became of a Dockerfile."""

    state: llb.State
    image: Image
    epoch: int | None
    target: StageState
    stages: list[StageState]
    meta_args: list[ins.ArgCommand]


class _Late:
    """An output that is known only when everything else is."""

    target: llb.Output | None = None

    def to_input(self, constraints: llb.Constraints) -> llb.Input | None:
        return self.target.to_input(constraints) if self.target is not None else None

    def vertex(self, constraints: llb.Constraints) -> llb.Vertex | None:
        return self.target.vertex(constraints) if self.target is not None else None


def convert(text: str, opt: ConvertOpt, ignored: Sequence[str] = ()) -> Converted:
    """Convert a Dockerfile.

    Args:
        ignored: what the ignore file leaves out of the context.

    Raises:
        BuildkitError: with the places in the file, where the fault has one.
    """
    converter = Converter(text, opt)
    converter.prepare()
    return converter.finish(ignored)


def default_args(build: Platform, target: Platform, overrides: Mapping[str, str], stage: str) -> dict[str, str]:
    """The variables that are always there before the first FROM."""
    values = {
        "BUILDPLATFORM": platforms.format(build),
        "BUILDOS": build.os,
        "BUILDOSVERSION": build.os_version,
        "BUILDARCH": build.architecture,
        "BUILDVARIANT": build.variant,
        "TARGETPLATFORM": platforms.format_all(target),
        "TARGETOS": target.os,
        "TARGETOSVERSION": target.os_version,
        "TARGETARCH": target.architecture,
        "TARGETVARIANT": target.variant,
        "TARGETSTAGE": stage or "default",
    }
    return {key: overrides.get(key, value) for key, value in values.items()}


class Converter:
    """A conversion in two steps, between which the ignore file is read.

    Args:
        text: the Dockerfile.
        opt: how to convert it.
    """

    def __init__(self, text: str, opt: ConvertOpt) -> None:
        if not text:
            raise ConvertError("the Dockerfile cannot be empty")
        self.opt = opt
        self.lint = _linter(text, opt)
        self.dockerfile = parse(text)
        self.lex = Lex(self.dockerfile.escape)
        self.platform = opt.target_platform or opt.build_platform
        self.states = StageStates()
        self.epoch: int | None = None
        self.declared: set[str] = set()
        self.capture = Capture()
        self.build_args = dict(opt.build_args)

    def prepare(self) -> None:
        """Parse, find the target, link the stages and look for base images."""
        for line in self.dockerfile.empty_continuations:
            self.lint.run(rules.NO_EMPTY_CONTINUATION, [Range(line, line)], "Empty continuation line")
        stages, self.meta_args = parse_instructions(self.dockerfile, self.lint)
        if not stages:
            raise ConvertError("dockerfile contains no stages to build")
        validate.check_stage_names(stages, self.lint)
        validate.check_casing(stages, self.lint)
        target_name = self.opt.target or stages[-1].name
        args = default_args(self.opt.build_platform, self.platform, self.opt.build_args, target_name)
        self._check_default_args(stages, args, self.meta_args)
        self.args = self._meta_args(dict(args), self.meta_args, self.build_args)
        self._resolve_epoch(stages)
        self._add_stages(stages)
        self.target = self._target()
        self._link_stages()
        self.needed = self._resolve_stages(self.target)

    def finish(self, ignored: Sequence[str]) -> Converted:
        """Apply the instructions."""
        target = self.target
        paths, late = self._dispatch_stages(self.needed, patternmatcher.new(ignored) if ignored else None)
        target.paths.add("/")
        target.image.config.labels.update(self.opt.labels)
        self.lint.check()
        late.target = self.opt.main_context(ignored, follow_paths(paths)).output()
        if self.opt.target_platform is not None:
            target.image.platform = self.opt.target_platform
        target.image.platform = platforms.normalize(target.image.platform)
        state = target.state.set_marshal_defaults(llb.platform(self.platform))
        return Converted(state, target.image, self.epoch, target, self.states.all, self.meta_args)

    def _check_default_args(
        self, stages: Sequence[ins.Stage], args: dict[str, str], meta_args: Sequence[ins.ArgCommand]
    ) -> None:
        try:
            defaults = self._meta_args(dict(args), meta_args, {})
        except BuildkitError:
            return
        for stage in stages:
            try:
                name = self.lex.process_word(stage.base_name, defaults)
            except BuildkitError:
                return
            try:
                reference.parse_normalized_named(name)
            except BuildkitError:
                message = f"Default value for ARG {stage.base_name} results in empty or invalid base image name"
                self.lint.run(rules.INVALID_DEFAULT_ARG_IN_FROM, stage.location, message)

    def _meta_args(
        self, args: dict[str, str], commands: Sequence[ins.ArgCommand], given: Mapping[str, str]
    ) -> dict[str, str]:
        self.capture = Capture()
        for command in commands:
            for arg in command.args:
                self.declared.add(arg.key)
                value = given.get(arg.key)
                deps: set[str] = set()
                if value is None and arg.value is not None:
                    try:
                        expansion = self.lex.process(arg.value, args)
                    except BuildkitError as err:
                        placed = with_location(err, command.location)
                        raise placed from placed.__cause__
                    value, deps = expansion.result, expansion.matched
                self.capture.add_arg(arg.key, value or "", arg.doc_comment, command.location, deps)
                if value is not None:
                    args.pop(arg.key, None)
                    args[arg.key] = value
        return args

    def _resolve_epoch(self, stages: Sequence[ins.Stage]) -> None:
        key = "SOURCE_DATE_EPOCH"
        value = self.build_args.get(key)
        if value is None:
            value = self.args.get(key, "")
            if not value:
                return
        if value:
            try:
                self.epoch = parse_int(value, 10, 64)
            except BuildkitError:
                found = self._epoch_source(value, stages)
                self.epoch = self.opt.epoch(*found)
        for args in (self.build_args, self.args):
            if key in args and self.epoch is None:
                del args[key]
            elif key in args:
                args[key] = str(self.epoch)

    def _epoch_source(self, value: str, stages: Sequence[ins.Stage]) -> tuple[llb.State, str]:
        """What the time is taken from, and the name of the step that takes it."""
        if value == "context":
            return self.opt.main_context([], []), "[internal] resolve main build context metadata"
        context = self.opt.named_context(value, None, list)
        if context is not None:
            return context.load()[0], f"[internal] resolve SOURCE_DATE_EPOCH named context {value}"
        for stage in stages:
            if stage.name.lower() != value.lower():
                continue
            args = {name: text for name, text in self.args.items() if name != "SOURCE_DATE_EPOCH"}
            try:
                source = stage_source(stage, self.build_args, args, self.lex)
            except BuildkitError as err:
                placed = with_location(err, stage.location)
                raise placed from placed.__cause__
            return source, f"[internal] resolve SOURCE_DATE_EPOCH source stage {stage.name}"
        raise ConvertError(f"invalid SOURCE_DATE_EPOCH: {value}")

    def _add_stages(self, stages: Sequence[ins.Stage]) -> None:
        for number, parsed in enumerate(stages):
            lint = self.lint.with_comments(parsed.comments)
            name, used = self._base_name(parsed, lint)
            stage = replace(parsed, base_name=name)
            state = StageState(
                stage=stage,
                name=stage.name or f"stage-{number}",
                prefix_platform=self.opt.multi_platform,
                epoch=self.epoch,
                capture=self.capture.clone(),
            )
            if stage.platform:
                state.platform, more = self._stage_platform(stage, lint)
                used |= more
            if stage.name:
                state.context = self.opt.named_context(stage.name, state.platform, _needed_paths(state))
            self.states.add(state)
            if state.context is not None:
                state.base = None
                continue
            state.capture.use(used)
            counted = (ins.CopyCommand, ins.RunCommand, ins.WorkdirCommand)
            state.total = sum(isinstance(command, counted) for command in stage.commands)
            if stage.base_name != "scratch" and state.base is None:
                state.total += 1
            state.ignore_cache = self.opt.no_cache(stage.name)

    def _base_name(self, stage: ins.Stage, lint: Linter) -> tuple[str, set[str]]:
        try:
            expansion = self.lex.process(stage.base_name, self.args)
        except BuildkitError as err:
            placed = with_location(err, stage.location)
            raise placed from placed.__cause__
        validate.report_unused_from_args([*self.declared, *self.args], expansion.unmatched, stage.location, lint)
        if not expansion.result:
            raise with_location(ConvertError(f"base name ({stage.base_name}) should not be blank"), stage.location)
        return expansion.result, set(expansion.matched)

    def _stage_platform(self, stage: ins.Stage, lint: Linter) -> tuple[Platform, set[str]]:
        try:
            expansion = self.lex.process(stage.platform, self.args)
        except BuildkitError as err:
            wrapped = wrap(err, "failed to process arguments for platform ")
            placed = with_location(wrapped, stage.location)
            raise placed from placed.__cause__
        validate.report_unused_from_args([*self.declared, *self.args], expansion.unmatched, stage.location, lint)
        validate.report_platform(stage, expansion, self.args, stage.location, lint)
        if not expansion.result:
            empty = ConvertError(f"empty platform value from expression {stage.platform}")
            located = with_location(empty, stage.location)
            raise self._suggest_any(located, expansion.unmatched)
        try:
            return platforms.parse(expansion.result), set(expansion.matched)
        except BuildkitError as err:
            located = with_location(err, stage.location)
            failed = self._suggest_any(located, expansion.unmatched)
            wrapped = wrap(failed, f"failed to parse platform {stage.platform}")
            placed = with_location(wrapped, stage.location)
            raise placed from placed.__cause__

    def _suggest_any(self, err: BuildkitError, names: set[str]) -> BuildkitError:
        for name in sorted(names):
            suggested = suggest(err, name, self.args, True)
            if suggested is not err:
                return suggested
        return err

    def _target(self) -> StageState:
        if not self.opt.target:
            return self.states.all[-1]
        found = self.states.by_name(self.opt.target)
        if found is None:
            err = ConvertError(f"target stage {quote(self.opt.target)} could not be found")
            raise suggest(err, self.opt.target, self.states.names(), True)
        return found

    def _link_stages(self) -> None:
        for state in list(self.states.all):
            state.commands = [self._step(state, command) for command in state.stage.commands]
        validate.check_cycles(self.states.all)
        if len(self.states.all) == 1:
            self.states.all[0].name = ""

    def _step(self, state: StageState, command: ins.Command) -> StageCommand:
        step = StageCommand(command)
        if isinstance(command, ins.CopyCommand) and command.from_:
            step.source = self._copy_source(command)
            state.deps[step.source] = command
            if step.source.unregistered:
                self.states.add(step.source)
        return step

    def _copy_source(self, command: ins.CopyCommand) -> StageState:
        if self.lex.process_word(command.from_, {}) != command.from_:
            raise ConvertError(
                "variable expansion is not supported for --from, define a new stage with FROM using ARG from global "
                "scope as a workaround"
            )
        try:
            return self.states.by_index(atoi(command.from_))
        except ConvertError:
            raise
        except BuildkitError:
            pass
        found = self.states.by_name(command.from_)
        if found is not None:
            return found
        stage = ins.Stage(
            name="",
            base_name=command.from_,
            orig_cmd="",
            platform="",
            code="",
            location=command.location,
            comments=[],
            doc_comment="",
        )
        return StageState(stage=stage, name="", unregistered=True)

    def _resolve_stages(self, target: StageState) -> dict[StageState, None]:
        while True:
            needed = reachable(target)
            for state in self.states.all:
                if state.base is None and not state.dispatched and not state.resolved:
                    state.resolved = state in needed or self.opt.all_stages
                    self._resolve_base(state)
            more = False
            for state in list(needed):
                state.init_from_base()
                more = self._add_triggers(state) or more
            if not more:
                return needed

    def _resolve_base(self, state: StageState) -> None:
        if state.stage.base_name == "scratch" and state.context is None:
            state.state = llb.scratch()
            state.image = empty_image(self.platform)
            state.platform = self.platform
        else:
            try:
                self._resolve_image(state)
            except BuildkitError as err:
                placed = with_location(err, state.stage.location)
                raise placed from placed.__cause__
        state.dispatched = state.dispatched or state.unregistered

    def _resolve_image(self, state: StageState) -> None:
        name = state.stage.base_name
        try:
            ref = reference.tag_name_only(reference.parse_normalized_named(name))
        except BuildkitError as err:
            raise wrap(err, f"failed to parse stage name {quote(name)}") from err
        platform = state.platform or self.platform
        if state.resolved:
            if self._replaced(state, str(ref), platform):
                return
            ref = self._base_image(state, ref, platform)
        state.stage = replace(state.stage, base_name=str(ref))
        layers = state.image.layers or any(not entry.empty_layer for entry in state.image.history)
        if state.resolved and not layers:
            state.state = llb.scratch()
        else:
            state.state = llb.image(
                str(ref),
                llb.platform(platform),
                llb.with_custom_name(state.prefix(f"FROM {ref}", platform)),
                location(self.opt.source_map, state.stage.location),
            )
            if state.resolved:
                actual = state.image.platform
                validate.report_base_platform(name, platform, actual, state.stage.location, self.lint)
        state.platform = platform

    def _replaced(self, state: StageState, name: str, platform: Platform) -> bool:
        """Take a stage, or a stage's image, from where a build option says; whether there is one."""
        if state.context is not None:
            state.state, image = state.context.load()
            state.dispatched = True
            if image is not None:
                state.image = image
                if image.platform.architecture and image.platform.os:
                    state.platform = image.platform
            return True
        context = self.opt.named_context(name, platform, _needed_paths(state))
        if context is None:
            return False
        found, image = context.load()
        state.image = image or empty_image(platform)
        state.base_config = state.image.to_json().encode("utf-8", "surrogateescape")
        state.state = found.platform(platform)
        state.platform = platform
        return True

    def _base_image(self, state: StageState, ref: reference.Reference, platform: Platform) -> reference.Reference:
        """The name of a stage's image with its digest; notes its configuration."""
        name = state.stage.base_name
        prefix = f"[{platforms.format_all(platform)} internal]" if self.opt.multi_platform else "[internal]"
        try:
            digest, config = self.opt.resolve_image(str(ref), platform, f"{prefix} load metadata for {ref}")
        except BuildkitError as err:
            options = [*self.states.names(), *_COMMON_IMAGES]
            failed = suggest(wrap(err, name), name, options, True)
            raise failed from failed.__cause__
        state.image = read_image(config)
        state.base_config = config
        return reference.with_digest(ref, digest) if digest else ref

    def _add_triggers(self, state: StageState) -> bool:
        """Put the ONBUILD triggers of the base stage or image before a stage's own instructions."""
        triggers, state.image.config.onbuild = state.image.config.onbuild, []
        if state.base is not None and not state.onbuild_done:
            state.onbuild_done = True
            commands = [step.command for step in state.base.commands]
            triggers += [command.expression for command in commands if isinstance(command, ins.OnbuildCommand)]
        try:
            steps = [self._trigger(state, trigger) for trigger in triggers]
        except (BuildkitError, LocationError) as err:
            placed = set_location(err, state.stage.location)
            raise placed from placed.__cause__
        state.commands = [*steps, *state.commands]
        state.total += len(steps)
        return any(step.source is not None for step in steps)

    def _trigger(self, state: StageState, text: str) -> StageCommand:
        nodes = parse(text).nodes
        if len(nodes) != 1:
            raise ConvertError("onbuild trigger should be a single expression")
        node = nodes[0]
        lines = state.stage.location
        node.start_line = min((each.start for each in lines), default=0)
        node.end_line = max((each.end for each in lines), default=0)
        step = self._step(state, parse_command(node))
        step.is_onbuild = True
        return step

    def _dispatch_stages(
        self, needed: Mapping[StageState, None], ignored: PatternMatcher | None
    ) -> tuple[set[str], _Late]:
        late = _Late()
        opt = DispatchOpt(
            lex=self.lex,
            lint=self.lint,
            global_args=self.args,
            build_args=self.build_args,
            context=llb.new_state(late),
            source_map=self.opt.source_map,
            target_platform=self.platform,
            ignored=ignored,
        )
        paths: set[str] = set()
        for state in self.states.all:
            if state.dispatched or (state not in needed and not self.opt.all_stages):
                continue
            self._dispatch_stage(state, opt)
            paths |= state.context_paths
        return paths, late

    def _dispatch_stage(self, state: StageState, opt: DispatchOpt) -> None:
        state.init_from_base()
        state.dispatched = True
        platform = state.platform = state.platform or self.platform
        config = state.image.config
        if not any(entry.startswith("PATH=") for entry in config.env) and platform.os != "windows":
            config.env.append(f"PATH={DEFAULT_PATH_ENV}")
        if state.base is not None:
            state.env = dict(state.base.env)
        for entry in config.env:
            key, _, value = entry.partition("=")
            state.set_env(key, value)
        if config.working_dir:
            set_workdir(state, config.working_dir, platform.os)
        for step in state.commands:
            try:
                dispatch(state, step, opt)
            except BuildkitError as err:
                placed = with_location(err, step.command.location)
                raise placed from placed.__cause__


def _needed_paths(state: StageState) -> PathsFunc:
    return lambda: follow_paths(state.paths)


def _linter(text: str, opt: ConvertOpt) -> Linter:
    config = opt.lint_config
    if config is None:
        directive = parse_directive("check", text)
        try:
            config = parse_lint_options(directive.value.partition(" ")[0] if directive is not None else "")
        except BuildkitError as err:
            raise wrap(err, "failed to parse check options") from err
    return Linter(config, opt.warn)
