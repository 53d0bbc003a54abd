"""The help texts' layout: names in a left column, sentences in a right one.

Mirrors the help templates of github.com/urfave/cli/v3 as BuildKit v0.32.2 uses them: which sections there are, their
order and their left columns. The sentences are our own.
"""

from __future__ import annotations

from collections.abc import Iterable

from pybuildkit.cmd.buildctl._app import Command, CommandContext, ExitError
from pybuildkit.golang.flag import Flag, visible

_INDENT = "   "
_GAP = 2


def show_root_help(ctx: CommandContext) -> None:
    """Print the help of the program."""
    command = ctx.command
    sections = [
        _section("NAME", _name_line(ctx.command.name, command.usage)),
        _section("USAGE", f"{command.name} [global options] [command [command options]]"),
        _section("VERSION", command.version),
        _section("COMMANDS", *_columns(_command_rows(command, with_help=True))),
        _section("GLOBAL OPTIONS", *_columns(_flag_rows(command.flags))),
    ]
    ctx.stdout.write("\n".join(sections))


def show_command_help(ctx: CommandContext, name: str) -> None:
    """Print the help of a subcommand; raises ExitError where there is none of that name."""
    command = ctx.command.command(name)
    if command is None:
        raise ExitError(f"No help topic for '{name}'", 3)
    from pybuildkit.cmd.buildctl import _app

    sub = CommandContext(command, ctx)
    _app.ensure_help(command)
    if any(not child.hidden and child.name != "help" for child in command.commands):
        show_subcommand_help(sub)
    else:
        _show_leaf_help(sub)


def show_subcommand_help(ctx: CommandContext) -> None:
    """Print the help of a command that has subcommands."""
    command = ctx.command
    sections = [
        _section("NAME", _name_line(ctx.full_name(), command.usage)),
        _section("USAGE", f"{ctx.full_name()} [command [command options]]"),
        _section("COMMANDS", *_columns(_command_rows(command, with_help=False))),
        _section("OPTIONS", *_columns(_flag_rows(command.flags))),
    ]
    ctx.stdout.write("\n".join(sections))


def _show_leaf_help(ctx: CommandContext) -> None:
    command = ctx.command
    options = _flag_rows(command.flags)
    sections = [
        _section("NAME", _name_line(ctx.full_name(), command.usage)),
        _section("USAGE", *(command.usage_text or _usage_line(ctx, bool(options))).split("\n")),
    ]
    if options:
        sections.append(_section("OPTIONS", *_columns(options)))
    inherited = _flag_rows(flag for flag in ctx.root.command.flags if not flag.local)
    sections.append(_section("GLOBAL OPTIONS", *_columns(inherited)))
    ctx.stdout.write("\n".join(sections))


def _usage_line(ctx: CommandContext, has_options: bool) -> str:
    parts = [ctx.full_name()]
    if has_options:
        parts.append("[options]")
    if ctx.command.args_usage:
        parts.append(ctx.command.args_usage)
    return " ".join(parts)


def _name_line(name: str, usage: str) -> str:
    return f"{name} - {usage}" if usage else name


def _section(title: str, *lines: str) -> str:
    body = "".join(f"{_INDENT}{line}".rstrip() + "\n" for line in lines)
    return f"{title}:\n{body}"


def _command_rows(command: Command, *, with_help: bool) -> list[tuple[str, str]]:
    return [
        (", ".join(sub.names()), sub.usage)
        for sub in command.commands
        if not sub.hidden and (with_help or sub.name != "help")
    ]


def _flag_rows(flags: Iterable[Flag]) -> list[tuple[str, str]]:
    return [flag.help_line() for flag in visible(flags)]


def _columns(rows: list[tuple[str, str]]) -> list[str]:
    width = max((len(left) for left, _ in rows), default=0) + _GAP
    return [left.ljust(width) + right for left, right in rows]
