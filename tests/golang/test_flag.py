"""The flag grammar; the values are those of urfave/cli v3, tried with it."""

from __future__ import annotations

import pytest

from pybuildkit.golang.flag import (
    BoolFlag,
    DurationFlag,
    Flag,
    FlagError,
    FlagSet,
    Float64Flag,
    IntFlag,
    StringFlag,
    StringSliceFlag,
    parse_flags,
)


def _flags() -> FlagSet:
    return FlagSet(
        [
            BoolFlag("debug", aliases=("d",)),
            StringFlag("addr", value="default"),
            IntFlag("timeout", value=5),
            Float64Flag("keep"),
            DurationFlag("age"),
            StringSliceFlag("opt", aliases=("o",)),
        ]
    )


def _parse(*args: str) -> tuple[dict[str, object], list[str]]:
    """The values that were given, by name, and the positional arguments."""
    flags = _flags()

    def lookup(name: str) -> tuple[FlagSet, Flag] | None:
        flag = flags.lookup(name)
        return None if flag is None else (flags, flag)

    positional = parse_flags(args, lookup, lambda name: name == "sub")
    return {flag.names[0]: value for flag, value in flags.values.items()}, positional


@pytest.mark.parametrize(
    ("args", "values", "positional"),
    [
        ((), {}, []),
        (("--addr", "x"), {"addr": "x"}, []),
        (("-addr", "x"), {"addr": "x"}, []),
        (("--addr=x",), {"addr": "x"}, []),
        (("--addr=",), {"addr": ""}, []),
        (("--addr", ""), {"addr": ""}, []),
        (("--addr", "-x"), {"addr": "-x"}, []),
        (("--addr", "--"), {"addr": "--"}, []),
        (("--addr=a=b",), {"addr": "a=b"}, []),
        (("--addr", "a", "--addr", "b"), {"addr": "b"}, []),
        (("-d",), {"debug": True}, []),
        (("--debug", "false"), {"debug": True}, ["false"]),
        (("--debug=false",), {"debug": False}, []),
        (("--debug=",), {"debug": True}, []),
        (("--debug=T",), {"debug": True}, []),
        (("--timeout", "0x10"), {"timeout": 16}, []),
        (("--timeout=-1",), {"timeout": -1}, []),
        (("--keep", "1.5"), {"keep": 1.5}, []),
        (("--age", "1h30m"), {"age": 5_400_000_000_000}, []),
        (("--opt", "a,b", "-o", "c", "-o=d"), {"opt": ("a,b", "c", "d")}, []),
        (("a", "--addr", "x", "b"), {"addr": "x"}, ["a", "b"]),
        (("a", "--", "--addr", "x"), {}, ["a", "--addr", "x"]),
        (("sub", "--addr", "x"), {}, ["sub", "--addr", "x"]),
        (("a", "sub", "--nosuch"), {}, ["a", "sub", "--nosuch"]),
        (("a", "-", "b"), {}, ["a", "-"]),
        (("-1", "--addr", "x"), {}, ["-1", "--addr", "x"]),
        (("", "a"), {}, ["", "a"]),
        ((" --addr ", "x"), {"addr": "x"}, []),
    ],
)
def test_parse_flags(args: tuple[str, ...], values: dict[str, object], positional: list[str]) -> None:
    assert _parse(*args) == (values, positional)


@pytest.mark.parametrize(
    ("args", "text"),
    [
        (("--nosuch",), "flag provided but not defined: -nosuch"),
        (("---addr",), "flag provided but not defined: --addr"),
        (("-nosuch=1",), "flag provided but not defined: -nosuch"),
        (("-dd",), "flag provided but not defined: -dd"),
        (("--Addr", "x"), "flag provided but not defined: -Addr"),
        (("--addr",), "flag needs an argument: --addr"),
        (("-o",), "flag needs an argument: -o"),
        (("--debug=maybe",), 'invalid value "maybe" for flag -debug: parse error'),
        (("-d=2",), 'invalid value "2" for flag -d: parse error'),
        (("--timeout", "x"), 'invalid value "x" for flag -timeout: strconv.ParseInt: parsing "x": invalid syntax'),
        (("--keep", "x"), 'invalid value "x" for flag -keep: strconv.ParseFloat: parsing "x": invalid syntax'),
        (("--age", "1d"), 'invalid value "1d" for flag -age: time: unknown unit "d" in duration "1d"'),
    ],
)
def test_parse_flags_errors(args: tuple[str, ...], text: str) -> None:
    with pytest.raises(FlagError) as caught:
        _parse(*args)
    assert str(caught.value) == text


def test_values_before_an_error_are_kept() -> None:
    flags = _flags()
    flag = flags.lookup("addr")
    assert flag is not None
    with pytest.raises(FlagError):
        parse_flags(
            ["--addr", "x", "--nosuch"], lambda name: (flags, flag) if name == "addr" else None, lambda _: False
        )
    assert flags.get(flag) == "x"


def test_a_default_is_replaced_not_extended() -> None:
    flags = FlagSet([StringSliceFlag("opt", value=("default",))])
    flag = flags.flags[0]
    assert flags.get(flag) == ("default",)
    flags.set(flag, "opt", "a")
    flags.set(flag, "opt", "b")
    assert flags.get(flag) == ("a", "b")


@pytest.mark.parametrize(
    ("flag", "left", "right"),
    [
        (BoolFlag("wait", "wait for it"), "--wait", "wait for it"),
        (StringFlag("addr", "where", "unix"), "--addr string", 'where (default: "unix")'),
        (StringFlag("addr", "where"), "--addr string", "where"),
        (IntFlag("timeout", "seconds", 5), "--timeout int", "seconds (default: 5)"),
        (IntFlag("fd", "number", -1, show_default=False), "--fd int", "number"),
        (Float64Flag("keep", "MB"), "--keep float", "MB (default: 0)"),
        (DurationFlag("age", "time"), "--age duration", "time (default: 0s)"),
        (StringSliceFlag("opt", "more", aliases=("o",)), "--opt string, -o string [ --opt string, -o string ]", "more"),
    ],
)
def test_help_line(flag: Flag, left: str, right: str) -> None:
    assert flag.help_line() == (left, right)
