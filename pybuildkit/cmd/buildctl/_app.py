"""The command tree's types, and how a command line finds its action.

Mirrors Command of github.com/urfave/cli/v3 as BuildKit v0.32.2 configures it: flags of the root also apply below it,
every command has a `help` subcommand and a `--help` flag, and a name that is no command is a help topic that does
not exist (exit code 3). A last argument `--generate-shell-completion` asks what may follow the ones before it
(`_completion`).

An action is a function that takes a `CommandContext`, or the path of one, "module:function", whose module is loaded
only when the command is run, so that the commands that are not run cost nothing.
"""

from __future__ import annotations

from pybuildkit.cmd.buildctl.common._std import Std
from pybuildkit.golang.errors import BuildkitError
from pybuildkit.golang.flag import BoolFlag, Flag, FlagError, FlagSet, parse_flags

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Action = Callable[["CommandContext"], None] | str
    _Int = int


COMPLETION_FLAG = "--generate-shell-completion"


class ExitError(BuildkitError):
    """Ends the program with `code` and, where the text is not empty, the text alone on a line (Go's cli.Exit)."""

    def __init__(self, text: str, code: int) -> None:
        super().__init__(text)
        self.code = code


class Command:
    """A command's definition.

    Args:
        name: the word that calls it.
        usage: one sentence for the help.
        action: what runs; None prints the command's help.
        aliases: further words.
        usage_text: replaces the usage line of the help.
        args_usage: how the usage line names the arguments.
        version: for the root, what `--version` and the help show.
        hidden: whether the help of the parent leaves it out.
        raw: whether its arguments are taken as they are, flags too.
        flags, commands: what belongs to it.
    """

    __slots__ = (
        "action",
        "aliases",
        "args_usage",
        "before",
        "commands",
        "flags",
        "hidden",
        "name",
        "print_version",
        "raw",
        "usage",
        "usage_text",
        "version",
    )

    def __init__(
        self,
        name: str,
        usage: str = "",
        action: Action | None = None,
        *,
        aliases: tuple[str, ...] = (),
        usage_text: str = "",
        args_usage: str = "",
        version: str = "",
        hidden: bool = False,
        raw: bool = False,
        flags: Sequence[Flag] = (),
        commands: Sequence[Command] = (),
        before: Callable[[CommandContext], None] | None = None,
        print_version: Callable[[CommandContext], None] | None = None,
    ) -> None:
        self.name = name
        self.usage = usage
        self.action = action
        self.aliases = aliases
        self.usage_text = usage_text
        self.args_usage = args_usage
        self.version = version
        self.hidden = hidden
        self.raw = raw
        self.flags = [*flags]
        self.commands = [*commands]
        self.before = before
        self.print_version = print_version

    def names(self) -> tuple[str, ...]:
        """The words that call the command."""
        return (self.name, *self.aliases)

    def command(self, name: str) -> Command | None:
        """The subcommand of that name, or None."""
        for command in self.commands:
            if name == command.name or name in command.aliases:
                return command
        return None


def _help_flag() -> BoolFlag:
    return BoolFlag("help", "print this help", aliases=("h",), local=True)


def _version_flag() -> BoolFlag:
    return BoolFlag("version", "print the version", aliases=("v",), local=True)


def ensure_help(command: Command, *, is_root: bool = False) -> None:
    """Give a command the help subcommand and the flags that every command has, once."""
    if command.name == "help":
        return
    if command.command("help") is None:
        command.commands.append(
            Command("help", "list the commands, or explain one", _help_action, aliases=("h",), args_usage="[command]")
        )
        command.flags.append(_help_flag())
        if is_root:
            command.flags.append(_version_flag())


class CommandContext:
    """One run of one command: its flags' values, its arguments and its streams.

    Attributes:
        command: the definition.
        parent: the run of the command above it, None for the root.
        args: the positional arguments.
        completing: for the root, the whole command line where the shell asks how it may go on, else None.
        stdout, stderr: where the program writes.
    """

    __slots__ = ("args", "command", "completing", "flag_set", "parent", "stderr", "stdout")

    def __init__(
        self,
        command: Command,
        parent: CommandContext | None = None,
        *,
        stdout: Std | None = None,
        stderr: Std | None = None,
    ) -> None:
        self.command = command
        self.parent = parent
        self.args: list[str] = []
        self.completing: list[str] | None = None
        self.flag_set = FlagSet(command.flags)
        self.stdout: Std = stdout or (parent.stdout if parent else Std(1))
        self.stderr: Std = stderr or (parent.stderr if parent else Std(2, lossy=True))

    @property
    def root(self) -> CommandContext:
        """The run of the program itself."""
        node = self
        while node.parent is not None:
            node = node.parent
        return node

    def full_name(self) -> str:
        """The words from the program's name to the command's."""
        return f"{self.parent.full_name()} {self.command.name}" if self.parent else self.command.name

    def arg(self, index: int) -> str:
        """A positional argument, "" where there is none."""
        return self.args[index] if index < len(self.args) else ""

    def value(self, name: str) -> object:
        """The value of the nearest flag of that name, here or above."""
        node: CommandContext | None = self
        while node is not None:
            flag = node.flag_set.lookup(name)
            if flag is not None:
                return node.flag_set.get(flag)
            node = node.parent
        raise KeyError(name)

    def is_set(self, name: str) -> bool:
        """Whether the nearest flag of that name was given on the command line."""
        node: CommandContext | None = self
        while node is not None:
            flag = node.flag_set.lookup(name)
            if flag is not None:
                return flag in node.flag_set.values
            node = node.parent
        return False

    def string(self, name: str) -> str:
        """The value of a StringFlag."""
        value = self.value(name)
        assert isinstance(value, str)
        return value

    def bool(self, name: str) -> bool:
        """The value of a BoolFlag."""
        return self.value(name) is True

    def int(self, name: str) -> _Int:
        """The value of an IntFlag."""
        value = self.value(name)
        assert isinstance(value, int)
        return value

    def float64(self, name: str) -> float:
        """The value of a Float64Flag."""
        value = self.value(name)
        assert isinstance(value, float)
        return value

    def duration(self, name: str) -> _Int:
        """The value of a DurationFlag, in nanoseconds."""
        value = self.value(name)
        assert isinstance(value, int)
        return value

    def string_slice(self, name: str) -> list[str]:
        """The values of a StringSliceFlag, in order."""
        value = self.value(name)
        assert isinstance(value, tuple)
        return [*value]

    def lookup_applied(self, name: str) -> tuple[FlagSet, Flag] | None:
        """The flag that a name on the command line means: one's own, or one from above that is not local."""
        flag = self.flag_set.lookup(name)
        if flag is not None:
            return self.flag_set, flag
        node = self.parent
        while node is not None:
            flag = node.flag_set.lookup(name)
            if flag is not None and not flag.local:
                return node.flag_set, flag
            node = node.parent
        return None

    def given_names(self) -> list[str]:
        """Every name of the flags given here or above."""
        above = self.parent.given_names() if self.parent else []
        return above + self.flag_set.set_names()


def run(root: Command, argv: Sequence[str], *, stdout: Std | None = None, stderr: Std | None = None) -> None:
    """Run the command that the arguments name.

    Args:
        root: the program.
        argv: the arguments, without the program's name.

    Raises:
        ExitError: the program ends with that code and text.
        BuildkitError: whatever the arguments, the `before` function or the action found wrong.
    """
    ensure_help(root, is_root=True)
    ctx = CommandContext(root, stdout=stdout, stderr=stderr)
    if argv and argv[-1] == COMPLETION_FLAG:
        if "--" not in argv[:-2]:  # behind it there are no flags, so that this one is an argument to drop
            ctx.completing = [root.name, *argv]
        argv = argv[:-1]
    _run(ctx, argv)


def _run(ctx: CommandContext, argv: Sequence[str]) -> None:
    command = ctx.command
    if command.raw:
        ctx.args = [*argv]
        _action(command)(ctx)
        return
    failure = _parse(ctx, argv)
    if ctx.root.completing is not None and (not ctx.args or command.command(ctx.args[0]) is None):
        from pybuildkit.cmd.buildctl._completion import complete

        complete(ctx)
        return
    if failure is not None:
        ctx.stderr.write(f"Incorrect Usage: {failure}\n\n")
        if ctx.parent is None:
            _show_root_help(ctx)
        raise failure
    _run_parsed(ctx)


def _parse(ctx: CommandContext, argv: Sequence[str]) -> FlagError | None:
    """Set flags and arguments; gives what is wrong with them."""
    command = ctx.command
    completing = ctx.root.completing is not None
    try:
        ctx.args = parse_flags(
            argv, ctx.lookup_applied, lambda name: command.command(name) is not None, completing=completing
        )
    except FlagError as err:
        return err
    return None


def _run_parsed(ctx: CommandContext) -> None:
    command = ctx.command
    if _wants(ctx, "help"):
        try:
            _help_action(ctx)
        except ExitError as err:  # only the command `help` has an exit code of its own
            raise BuildkitError(str(err)) from None
        return
    if ctx.parent is None and _wants(ctx, "version") and command.print_version is not None:
        command.print_version(ctx)
        return
    sub = None
    if ctx.args:
        sub = command.command(ctx.args[0])
        if sub is None and ctx.args[0] in ctx.given_names():
            ctx.args = ["", *ctx.args]  # Go looks for a default command then, which has no name here
    if sub is not None:
        ensure_help(sub)
        _run(CommandContext(sub, ctx), ctx.args[1:])
        return
    _run_before(ctx)
    _action(command)(ctx)


def _wants(ctx: CommandContext, name: str) -> bool:
    """Whether `--help` or `--version` was given here or above."""
    node: CommandContext | None = ctx
    while node is not None:
        flag = node.flag_set.lookup(name)
        if flag is not None:
            return node.flag_set.get(flag) is True
        node = node.parent
    return False


def _run_before(ctx: CommandContext) -> None:
    """The `before` functions from the root down."""
    if ctx.parent is not None:
        _run_before(ctx.parent)
    if ctx.command.before is not None:
        ctx.command.before(ctx)


def _action(command: Command) -> Callable[[CommandContext], None]:
    action = command.action
    if action is None:
        return _help_action
    if not isinstance(action, str):
        return action
    from importlib import import_module

    module, _, function = action.partition(":")
    loaded: Callable[[CommandContext], None] = getattr(import_module(module), function)
    return loaded


def _show_root_help(ctx: CommandContext) -> None:
    from pybuildkit.cmd.buildctl._help import show_root_help

    show_root_help(ctx.root)


def _help_action(ctx: CommandContext) -> None:
    """Print the help of a topic, or of the command itself; raises ExitError for a topic that does not exist."""
    from pybuildkit.cmd.buildctl._help import show_command_help, show_root_help, show_subcommand_help

    topic = ctx.arg(0)
    if ctx.command.name == "help" and ctx.parent is not None:
        ctx = ctx.parent
    if topic:
        show_command_help(ctx, topic)
    elif ctx.parent is None:
        show_root_help(ctx)
    elif any(not sub.hidden and sub.name != "help" for sub in ctx.command.commands):
        show_subcommand_help(ctx)
    else:
        show_command_help(ctx.parent, ctx.command.name)
