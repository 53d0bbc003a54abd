"""COPY and ADD.

Mirrors frontend/dockerfile/dockerfile2llb/convert_copy.go, v0.32.2.
"""

from __future__ import annotations

from fake_buildkitd.chmod import parse_mode
from fake_buildkitd.frontend.dockerfile import _commands as ins
from fake_buildkitd.frontend.dockerfile import _validate as validate
from fake_buildkitd.frontend.dockerfile._dispatch import DispatchOpt, expanded_name, location
from fake_buildkitd.frontend.dockerfile._gitref import GitRef, is_git, is_web, parse_git_ref, web_file_name
from fake_buildkitd.frontend.dockerfile._linter import Linter
from fake_buildkitd.frontend.dockerfile._state import ConvertError, StageState
from fake_buildkitd.store._glob import contains_wildcards
from pybuildkit import identity
from pybuildkit.client import llb
from pybuildkit.golang.errors import BuildkitError, wrap
from pybuildkit.golang.strconv import NumError, parse_uint, quote
from pybuildkit.third_party.opencontainers import digest
from pybuildkit.third_party.patternmatcher import PatternMatcher
from pybuildkit.third_party.platforms import Platform
from pybuildkit.util import system


def dispatch_copy(
    state: StageState,
    command: ins.CopyCommand,
    source: llb.State,
    ignored: PatternMatcher | None,
    opt: DispatchOpt,
    lint: Linter,
) -> None:
    """Copy into a stage's tree.

    Raises:
        BuildkitError: flags or sources that do not go together.
    """
    _Copy(state, command, source, ignored, opt, lint).run()


class _Copy:
    def __init__(
        self,
        state: StageState,
        command: ins.CopyCommand,
        source: llb.State,
        ignored: PatternMatcher | None,
        opt: DispatchOpt,
        lint: Linter,
    ) -> None:
        self.state = state
        self.command = command
        self.source = source
        self.ignored = ignored
        self.opt = opt
        self.lint = lint
        self.add = command if isinstance(command, ins.AddCommand) else None
        self.action: llb.FileAction | None = None
        self.os = ""

    def run(self) -> None:
        state, command = self.state, self.command
        platform = state.platform or self.opt.target_platform
        self.os = platform.os
        dest = self._destination(command.dest)
        options: list[llb.CopyOption] = []
        if command.chown:
            options.append(llb.with_user(command.chown))
        if command.excludes:
            options.append(llb.with_exclude_patterns(command.excludes))
        mode = _chmod(command.chmod) if command.chmod else None
        self._check_checksum()
        text = expanded_name(self.opt.lex, command.code, state.env)
        name = state.prefix(text, platform)
        for path in command.sources:
            git = parse_git_ref(path)
            if git is not None and not git.local:
                self._git(git, name, dest, mode, options)
            elif is_web(path):
                self._web(path, name, dest, mode, options)
            else:
                self._source(path, dest, mode, options)
        for content in command.contents:
            self._content(content, dest, mode, options, platform)
        assert self.action is not None
        self._apply(self.action, name, text, platform)
        state.image.commit(self._message(), layer=True, with_state=True, epoch=state.epoch)

    def _destination(self, path: str) -> str:
        """Where to copy to: an absolute path with a trailing "/" or "/." kept."""
        try:
            path = system.check_system_drive_and_remove_drive_letter(path, self.os, True)
        except BuildkitError as err:
            raise wrap(err, "removing drive letter") from err
        if system.is_abs(path, self.os):
            return system.normalize_path("/", path, self.os, True)
        return system.normalize_path(self.state.directory, "./" if path in (".", "") else path, self.os, True)

    def _normal(self, path: str) -> str:
        """A source as an absolute path."""
        try:
            return system.normalize_path("/", path, self.os, False)
        except BuildkitError as err:
            raise wrap(err, "removing drive letter") from err

    def _check_checksum(self) -> None:
        if self.add is None or not self.add.checksum:
            return
        if len(self.add.sources) != 1:
            raise ConvertError("checksum can't be specified for multiple sources")
        source = self.add.sources[0]
        if not is_web(source) and not is_git(source):
            raise ConvertError("checksum requires HTTP(S) or Git sources")

    def _append(self, source: llb.State, src: str, dest: str, options: list[llb.CopyOption]) -> None:
        if self.action is None:
            self.action = llb.copy(source, src, dest, *options)
        else:
            self.action = self.action.copy(source, src, dest, *options)

    def _source(self, path: str, dest: str, mode: llb.ChmodOpt | None, options: list[llb.CopyOption]) -> None:
        validate.report_ignored(path, self.add is not None, self.ignored, self.command.location, self.lint)
        patterns: list[str] = []
        required: list[str] = []
        if self.command.parents:
            parent, pivot, pattern = path.partition("/./")
            path, pattern = (parent, pattern) if pivot else ("/", path)
            pattern = self._normal(pattern)
            patterns = [pattern.removeprefix("/")]
            if not contains_wildcards(path.encode()) and not contains_wildcards(pattern.encode()):
                required = [self._normal(system.join(path, pattern))]
        path = self._normal(path)
        unpack = self.add is not None
        if self.add is not None and self.add.unpack is not None:
            unpack = self.add.unpack
        info = llb.CopyInfo(
            mode=mode,
            follow_symlinks=True,
            copy_dir_contents_only=True,
            include_patterns=patterns,
            required_paths=required,
            attempt_unpack=unpack,
            create_dest_path=True,
            allow_wildcard=True,
            allow_empty_wildcard=True,
        )
        self._append(self.source, path, dest, [info, *options])

    def _git(self, git: GitRef, name: str, dest: str, mode: llb.ChmodOpt | None, options: list[llb.CopyOption]) -> None:
        add = self.add
        if add is None:
            raise ConvertError("source can't be a git ref for COPY")
        if add.keep_git_dir is not None and git.keep_git_dir not in (None, add.keep_git_dir):
            raise ConvertError("inconsistent keep-git-dir configuration")
        if add.checksum and git.checksum not in ("", add.checksum):
            raise ConvertError(f"checksum mismatch {quote(add.checksum)} != {quote(git.checksum)}")
        keep = git.keep_git_dir if git.keep_git_dir is not None else add.keep_git_dir
        git.checksum, git.mtime = git.checksum or add.checksum, ""
        what = [*git.options(), llb.with_custom_name(name), *([llb.keep_git_dir()] if keep else [])]
        info = llb.CopyInfo(mode=mode, create_dest_path=True)
        self._append(llb.git(git.remote, "", *what), "/", dest, [info, *options])

    def _web(
        self, address: str, name: str, dest: str, mode: llb.ChmodOpt | None, options: list[llb.CopyOption]
    ) -> None:
        if self.add is None:
            raise ConvertError("source can't be a URL for COPY")
        file = web_file_name(address)
        what: list[llb.HTTPOption] = [llb.filename(file), llb.with_custom_name(name)]
        if self.add.checksum:
            what.append(llb.checksum(digest.parse(self.add.checksum)))
        info = llb.CopyInfo(mode=mode, create_dest_path=True, attempt_unpack=bool(self.add.unpack))
        self._append(llb.http(address, *what), file, dest, [info, *options])

    def _content(
        self,
        content: ins.SourceContent,
        dest: str,
        mode: llb.ChmodOpt | None,
        options: list[llb.CopyOption],
        platform: Platform,
    ) -> None:
        data = content.data.encode("utf-8", "surrogateescape")
        try:
            path = system.check_system_drive_and_remove_drive_letter(content.path, self.os, False)
        except BuildkitError as err:
            raise wrap(err, "removing drive letter") from err
        source = llb.scratch().file(
            llb.mkfile(path, 0o644, data),
            llb.with_custom_name("[internal] preparing inline document"),
            llb.platform(platform),
        )
        info = llb.CopyInfo(mode=mode, create_dest_path=True)
        self._append(source, path, dest, [info, *options])

    def _apply(self, action: llb.FileAction, name: str, text: str, platform: Platform) -> None:
        state = self.state
        options: list[llb.ConstraintsOpt] = [
            llb.with_custom_name(name),
            location(self.opt.source_map, self.command.location),
        ]
        if state.ignore_cache:
            options.append(llb.ignore_cache)
        if not self.command.link or self.command.chmod:
            state.state = state.state.file(action, *options)
            return
        group = identity.new_id()
        state.index -= 1
        name = state.prefix(text, platform)
        copied = llb.scratch().file(action, llb.platform(platform), *options, llb.progress_group(group, name, True))
        state.index -= 1
        linked = state.prefix("LINK " + text, platform)
        options += [llb.progress_group(group, name, False), llb.with_custom_name(linked)]
        state.state = state.state.with_output(llb.merge([state.state, copied], *options).output())

    def _message(self) -> str:
        command = self.command
        words = ["ADD" if self.add is not None else "COPY"]
        if command.parents:
            words.append("--parents")
        if command.chown:
            words.append(f"--chown={command.chown}")
        if command.chmod:
            words.append(f"--chmod={command.chmod}")
        words += command.sources
        words += [f"<<{content.path}" for content in command.contents]
        return " ".join([*words, command.dest])


def _chmod(text: str) -> llb.ChmodOpt:
    refused = f"invalid chmod parameter: '{text}'. it should be octal string and between 0 and 07777"
    try:
        mode = parse_uint(text, 8, 32)
    except BuildkitError:
        try:
            parse_mode(text)
        except NumError as err:
            raise ConvertError(refused) from err
        return llb.ChmodOpt(mode_str=text)
    if mode > 0o7777:
        raise ConvertError(refused)
    return llb.ChmodOpt(mode=mode)
