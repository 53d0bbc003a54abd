"""A SOURCE_DATE_EPOCH that names where the time comes from: the context, a named context, or a stage with one ADD.

Mirrors frontend/dockerfile/dockerfile2llb/epoch.go, v0.32.2.

A repository's time is that of its commit, a file's the one that its server says, an archive's that of its newest
file. Where none of these is known there is no time, as if nothing had been asked for.
"""

from __future__ import annotations

import asyncio
import io
import re
import tarfile
from collections.abc import Mapping

from fake_buildkitd.frontend._bridge import Bridge
from fake_buildkitd.frontend.dockerfile import _commands as ins
from fake_buildkitd.frontend.dockerfile._gitref import is_web, parse_git_ref, web_file_name
from fake_buildkitd.frontend.dockerfile._shell import Lex
from fake_buildkitd.frontend.dockerfile._state import ConvertError
from pybuildkit.client import llb
from pybuildkit.frontend.gateway.pb import gateway_pb2
from pybuildkit.golang.context import Context
from pybuildkit.golang.errors import BuildkitError, wrap
from pybuildkit.golang.strconv import quote
from pybuildkit.solver import pb
from pybuildkit.solver.pb import ops_pb2
from pybuildkit.third_party.opencontainers import digest

_ONE_ADD = "SOURCE_DATE_EPOCH stage must contain exactly one remote ADD"


def stage_source(stage: ins.Stage, build_args: Mapping[str, str], args: Mapping[str, str], lex: Lex) -> llb.State:
    """The source of a stage that is nothing but the ADD of something from elsewhere.

    Args:
        build_args, args: the variables that the build gives, and those before the first FROM.

    Raises:
        BuildkitError: it is more than that, or less.
    """
    try:
        base = lex.process_word(stage.base_name, args)
    except BuildkitError as err:
        raise wrap(err, f"failed to process source stage base name {quote(stage.base_name)}") from err
    if base != "scratch":
        raise ConvertError("SOURCE_DATE_EPOCH stage must use FROM scratch")
    env, found = dict(args), None
    for command in stage.commands:
        if isinstance(command, ins.ArgCommand):
            for arg in command.args:
                if arg.key in build_args:
                    env[arg.key] = build_args[arg.key]
                elif arg.value is not None:
                    env[arg.key] = lex.process_word(arg.value, env)
        elif not isinstance(command, ins.AddCommand):
            raise ConvertError(
                "SOURCE_DATE_EPOCH stage does not meet source-only requirements: unsupported "
                f"{command.name.upper()} instruction"
            )
        elif found is not None:
            raise ConvertError(_ONE_ADD)
        else:
            found = _add_source(command, env, lex)
    if found is None:
        raise ConvertError(_ONE_ADD)
    return found


def _add_source(command: ins.AddCommand, env: Mapping[str, str], lex: Lex) -> llb.State:
    if command.contents or len(command.sources) != 1:
        raise ConvertError(f"{_ONE_ADD} source")
    address = lex.process_word(command.sources[0], env)
    checksum = lex.process_word(command.checksum, env) if command.checksum else ""
    if is_web(address):
        options: list[llb.HTTPOption] = [llb.filename(web_file_name(address))]
        return llb.http(address, *options, *([llb.checksum(digest.parse(checksum))] if checksum else []))
    git = parse_git_ref(address)
    if git is None or git.local:
        raise ConvertError("SOURCE_DATE_EPOCH stage source must be a single HTTP(S) or Git ADD")
    git.checksum, git.mtime, git.fetch_by_commit = checksum or git.checksum, "", False
    keep = [llb.keep_git_dir()] if command.keep_git_dir or git.keep_git_dir else []
    return llb.git(git.remote, "", *git.options(), *keep)


async def epoch_time(ctx: Context, bridge: Bridge, state: llb.State, log_name: str) -> int | None:
    """The time of the only source of a state, in seconds since the epoch; None where it is not known.

    Args:
        log_name: of the step that finds it out.

    Raises:
        BuildkitError: the source cannot be had.
    """
    source = await _only_source(ctx, state)
    if source is None:
        return None
    request = gateway_pb2.ResolveSourceMetaRequest(Source=source, LogName=log_name)
    if source.identifier.startswith("git://"):
        request.Git.ReturnObject = True
    answer = await bridge.describe_source(ctx, request, judge=True)
    if answer.Git.CommitObject:
        return _commit_time(answer.Git.CommitObject)
    if answer.HTTP.HasField("LastModified"):
        return answer.HTTP.LastModified.seconds
    name = source.attrs.get(pb.ATTR_HTTP_FILENAME, "")
    if not name or not source.identifier.startswith(("http://", "https://")):
        return None
    state = llb.new_state(llb.new_source(source.identifier, dict(source.attrs), llb.Constraints()).output())
    ref = bridge.ref((await state.marshal(ctx)).to_pb())
    return await asyncio.to_thread(newest_file, await bridge.read_file(ctx, ref, name))


async def _only_source(ctx: Context, state: llb.State) -> ops_pb2.SourceOp | None:
    definition = (await state.marshal(ctx)).to_pb()
    ops = [ops_pb2.Op.FromString(data) for data in getattr(definition, "def")]
    sources = [op.source for op in ops if op.HasField("source")]
    return sources[0] if len(sources) == 1 else None


def _commit_time(text: bytes) -> int | None:
    found = re.search(rb"^committer .* (-?\d+) [+-]\d{4}$", text.partition(b"\n\n")[0], re.MULTILINE)
    return int(found[1]) if found is not None else None


def newest_file(data: bytes) -> int | None:
    """The time of the newest regular file of an archive, in seconds; None where it is no archive."""
    newest: int | None = None
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:*") as archive:
            for member in archive:
                if member.isreg() and (newest is None or member.mtime > newest):
                    newest = int(member.mtime)
    except (tarfile.TarError, EOFError, OSError):
        return None
    return newest
