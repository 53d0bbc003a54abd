"""The `--name=value` flags of a Dockerfile instruction.

Mirrors frontend/dockerfile/instructions/bflag.go, v0.32.2.
"""

from __future__ import annotations

from collections.abc import Iterable

from fake_buildkitd.frontend.dockerfile._text import suggest
from pybuildkit.golang.errors import BuildkitError


class FlagError(BuildkitError):
    """A flag that the instruction does not take, or takes otherwise."""


class Flags:
    """The flags of one instruction, checked against what it takes.

    Args:
        args: the flags as written.
        strings: names of the flags with a value.
        bools: names of the flags that are true, false or absent.
        lists: names of the flags that may be given several times.

    Raises:
        FlagError: an unknown flag (with a suggestion), one given twice, or a value missing or of the wrong kind.
    """

    def __init__(
        self,
        args: Iterable[str],
        *,
        strings: Iterable[str] = (),
        bools: Iterable[str] = (),
        lists: Iterable[str] = (),
    ) -> None:
        kinds = dict.fromkeys(strings, "string") | dict.fromkeys(bools, "bool")
        kinds |= dict.fromkeys(lists, "list")
        self._values: dict[str, list[str]] = {}
        for arg in args:
            if arg == "--":
                break
            if not arg.startswith("--"):
                raise FlagError(f"arg should start with -- : {arg}")
            self._take(arg, kinds)

    def _take(self, arg: str, kinds: dict[str, str]) -> None:
        flag, equals, value = arg.partition("=")
        name = flag[2:]
        kind = kinds.get(name)
        if kind is None:
            raise suggest(FlagError(f"unknown flag: {flag}"), name, kinds, True)
        if name in self._values and kind != "list":
            raise FlagError(f"duplicate flag specified: {flag}")
        if (kind == "bool" and equals and not value) or (kind != "bool" and not equals):
            raise FlagError(f"missing a value on flag: {flag}")
        if kind == "bool":
            value = value.lower() or "true"
            if value not in ("true", "false"):
                raise FlagError(f"expecting boolean value for flag {flag}, not: {arg.partition('=')[2]}")
        self._values.setdefault(name, []).append(value)

    def string(self, name: str, default: str = "") -> str:
        """The flag's value, `default` where it is absent."""
        return self._values.get(name, [default])[0]

    def boolean(self, name: str) -> bool | None:
        """The flag's value, None where it is absent."""
        return self._values[name][0] == "true" if name in self._values else None

    def strings(self, name: str) -> list[str]:
        """All values of the flag."""
        return self._values.get(name, [])
