"""How a command line finds its action."""

from __future__ import annotations

import pytest

from pybuildkit.cmd.buildctl._app import Command, CommandContext, ExitError, run
from pybuildkit.golang.errors import BuildkitError
from pybuildkit.golang.flag import BoolFlag, FlagError, StringFlag, StringSliceFlag
from tests.cmd.buildctl.streams import Recorder

called: list[str] = []


def module_action(c: CommandContext) -> None:
    """What `lazy` runs, found by its path."""
    called.append(f"lazy {c.args}")


class Tree:
    """A small program that notes what is called."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.stdout, self.stderr = Recorder(1), Recorder(2)
        self.root = Command(
            "app",
            "does things",
            version="v1",
            flags=[BoolFlag("wait"), StringFlag("addr", "where", "here"), BoolFlag("own", local=True)],
            commands=[
                Command("run", "runs", self._run, aliases=("r",), flags=[StringSliceFlag("opt", aliases=("o",))]),
                Command("group", "holds others", commands=[Command("leaf", "is one", self._leaf)]),
                Command("lazy", "is loaded late", f"{__name__}:module_action"),
                Command("fail", "fails", self._fail, hidden=True),
            ],
            before=lambda c: self.calls.append(f"before {c.full_name()}"),
            print_version=lambda c: c.stdout.write("the version\n"),
        )

    def _run(self, c: CommandContext) -> None:
        self.calls.append(f"run {c.string('addr')} {c.bool('wait')} {c.string_slice('opt')} {c.args}")

    def _leaf(self, c: CommandContext) -> None:
        self.calls.append(f"leaf {c.full_name()} {c.is_set('addr')} {c.arg(0)!r} {c.arg(1)!r}")

    def _fail(self, c: CommandContext) -> None:
        raise BuildkitError("failed")

    def __call__(self, *argv: str) -> Tree:
        run(self.root, argv, stdout=self.stdout, stderr=self.stderr)
        return self


@pytest.mark.parametrize(
    ("argv", "call"),
    [
        (("run",), "run here False [] []"),
        (("r", "x"), "run here False [] ['x']"),
        (("--addr", "a", "run", "-o", "1"), "run a False ['1'] []"),
        (("run", "--addr", "a", "x", "--wait"), "run a True [] ['x']"),
        (("--addr", "a", "run", "--addr", "b"), "run b False [] []"),
        (("run", "--", "--opt", "1"), "run here False [] ['--opt', '1']"),
        (("group", "leaf", "x"), "leaf app group leaf False 'x' ''"),
        (("group", "--addr=y", "leaf"), "leaf app group leaf True '' ''"),
    ],
)
def test_run(argv: tuple[str, ...], call: str) -> None:
    assert Tree()(*argv).calls == ["before app", call]


def test_an_action_is_loaded_when_it_is_run() -> None:
    called.clear()
    Tree()("lazy", "x")
    assert called == ["lazy ['x']"]


@pytest.mark.parametrize(
    "argv",
    [(), ("help",), ("h",), ("--help",), ("-h",), ("--help", "--version"), ("wait", "--wait"), ("--",)],
)
def test_root_help(argv: tuple[str, ...]) -> None:
    out = str(Tree()(*argv).stdout)
    assert out.startswith(
        "NAME:\n   app - does things\n\nUSAGE:\n   app [global options] [command [command options]]\n"
    )
    assert "VERSION:\n   v1\n" in out
    assert "   run, r   runs\n" in out
    assert "fail" not in out
    assert '   --addr string  where (default: "here")\n' in out


@pytest.mark.parametrize(
    ("argv", "name"),
    [
        (("run", "--help"), "app run"),
        (("run", "help"), "app run"),
        (("help", "run"), "app run"),
        (("--help", "r"), "app run"),
        (("group",), "app group"),
        (("group", "help"), "app group"),
        (("help", "group", "leaf"), "app group"),
        (("group", "help", "leaf"), "app group leaf"),
        (("group", "leaf", "-h"), "app group leaf"),
        (("help", "help"), "app help"),
        (("fail", "--help"), "app fail"),
    ],
)
def test_command_help(argv: tuple[str, ...], name: str) -> None:
    tree = Tree()(*argv)
    assert str(tree.stdout).startswith(f"NAME:\n   {name} - ")
    assert tree.calls in ([], ["before app"])


@pytest.mark.parametrize("argv", [("--version",), ("-v",), ("--version", "run")])
def test_version(argv: tuple[str, ...]) -> None:
    assert str(Tree()(*argv).stdout) == "the version\n"


@pytest.mark.parametrize("argv", [("nosuch",), ("help", "nosuch"), ("group", "nosuch"), ("-",), ("Run",)])
def test_no_such_command(argv: tuple[str, ...]) -> None:
    with pytest.raises(ExitError) as caught:
        Tree()(*argv)
    assert (caught.value.code, str(caught.value)) == (3, f"No help topic for '{argv[-1]}'")


def test_usage_error_of_the_root_prints_its_help() -> None:
    tree = Tree()
    with pytest.raises(FlagError):
        tree("--nosuch")
    assert str(tree.stderr) == "Incorrect Usage: flag provided but not defined: -nosuch\n\n"
    assert str(tree.stdout).startswith("NAME:\n   app - ")


@pytest.mark.parametrize("argv", [("run", "--nosuch"), ("run", "--own"), ("group", "leaf", "--opt", "x")])
def test_usage_error_of_a_command_prints_no_help(argv: tuple[str, ...]) -> None:
    tree = Tree()
    with pytest.raises(FlagError):
        tree(*argv)
    assert str(tree.stdout) == ""
    assert tree.calls == []


def test_an_action_s_error_comes_out() -> None:
    with pytest.raises(BuildkitError, match=r"^failed$"):
        Tree()("fail")


def test_int_and_float_values() -> None:
    from pybuildkit.golang.flag import DurationFlag, Float64Flag, IntFlag

    seen: list[object] = []
    flags = [IntFlag("n", value=3), Float64Flag("f"), DurationFlag("d")]
    action = lambda c: seen.extend([c.int("n"), c.float64("f"), c.duration("d")])  # noqa: E731  # one line
    run(Command("app", flags=flags, commands=[Command("x", action=action)]), ["--f", "2", "x", "--d", "1s"])
    assert seen == [3, 2.0, 1_000_000_000]
