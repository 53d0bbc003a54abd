"""Command line flags: their types, values and the grammar that finds them in the arguments.

Mirrors the flag types and parseFlags of github.com/urfave/cli/v3 as BuildKit v0.32.2 configures it.

The grammar, for one command:

- `-name`, `--name`, `-name=value` and `--name=value` are the same; the value of a flag that is not boolean may also
  be the next argument, whatever that looks like. An empty value after `=` stays empty, except for booleans.
- a boolean takes a value only after `=`; "" counts as true there.
- flags may follow positional arguments; the first positional that names a subcommand ends the parsing, and the
  subcommand parses the rest.
- `--` ends the flags. A lone `-` is positional and drops what follows it. An argument that begins with `-` and
  something that is no letter ends the flags too.
- arguments are stripped of white space before they are looked at; the values that follow a flag are not.
- a repeatable flag keeps every value as it is given: a comma does not separate.
"""

from __future__ import annotations

from pybuildkit.golang.errors import BuildkitError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence


class FlagError(BuildkitError):
    """The arguments do not fit the flags."""


class Flag:
    """A flag's definition; subclasses are the types.

    Args:
        name: the long name, without dashes.
        usage: one sentence for the help.
        value: the value when the flag is not given.
        aliases: further names.
        hidden: whether the help leaves the flag out.
        local: whether subcommands do without the flag.
        show_default: whether the help names the default.
    """

    __slots__ = ("default", "hidden", "local", "names", "show_default", "usage")

    is_bool = False
    repeatable = False
    type_name = "string"

    def __init__(
        self,
        name: str,
        usage: str = "",
        value: object = None,
        *,
        aliases: tuple[str, ...] = (),
        hidden: bool = False,
        local: bool = False,
        show_default: bool = True,
    ) -> None:
        self.names = (name, *aliases)
        self.usage = usage
        self.default = self.zero() if value is None else value
        self.hidden = hidden
        self.local = local
        self.show_default = show_default

    def zero(self) -> object:
        """The value of a flag without a default."""
        return ""

    def parse(self, text: str, previous: object) -> object:
        """The value for `text`, given the value before; raises a BuildkitError or ValueError with Go's text."""
        return text

    def default_text(self) -> str:
        """How the help writes the default, "" for none."""
        if not self.show_default or not self.default:
            return ""
        from pybuildkit.golang import strconv

        return strconv.quote(str(self.default))

    def prefixed_names(self) -> str:
        """The left column of the help: the names with their dashes and the value's type."""
        placeholder = "" if self.is_bool else " " + self.type_name
        text = ", ".join(("-" if len(name) == 1 else "--") + name + placeholder for name in self.names)
        return f"{text} [ {text} ]" if self.repeatable else text

    def help_line(self) -> tuple[str, str]:
        """The left column and the sentence, with the default behind it."""
        default = self.default_text()
        usage = f"{self.usage} (default: {default})" if default else self.usage
        return self.prefixed_names(), usage.strip()


class StringFlag(Flag):
    """A text; the last one given counts."""

    __slots__ = ()


class BoolFlag(Flag):
    """A switch."""

    __slots__ = ()
    is_bool = True

    def zero(self) -> object:
        return False

    def parse(self, text: str, previous: object) -> object:
        if text == "true":  # what a flag without a value means: spare the short commands an import
            return True
        from pybuildkit.golang import strconv

        try:
            return strconv.parse_bool(text)
        except (BuildkitError, ValueError):
            raise FlagError("parse error") from None

    def default_text(self) -> str:
        return ""


class IntFlag(Flag):
    """A whole number of 64 bits in Go's notations (0x10, 0o17, 1_000)."""

    __slots__ = ()
    type_name = "int"

    def zero(self) -> object:
        return 0

    def parse(self, text: str, previous: object) -> object:
        from pybuildkit.golang import strconv

        return strconv.parse_int(text, 0, 64)

    def default_text(self) -> str:
        return str(self.default) if self.show_default else ""


class Float64Flag(Flag):
    """A floating-point number in Go's notations."""

    __slots__ = ()
    type_name = "float"

    def zero(self) -> object:
        return 0.0

    def parse(self, text: str, previous: object) -> object:
        from pybuildkit.golang import strconv

        return strconv.parse_float(text)

    def default_text(self) -> str:
        return f"{self.default:g}"


class DurationFlag(Flag):
    """A time span such as 1h30m, kept in nanoseconds."""

    __slots__ = ()
    type_name = "duration"

    def zero(self) -> object:
        return 0

    def parse(self, text: str, previous: object) -> object:
        from pybuildkit.golang import duration

        return duration.parse(text)

    def default_text(self) -> str:
        from pybuildkit.golang import duration

        assert isinstance(self.default, int)
        return duration.string(self.default)


class StringSliceFlag(Flag):
    """A flag that may be repeated; every value is kept as it is given."""

    __slots__ = ()
    repeatable = True

    def zero(self) -> object:
        return ()

    def parse(self, text: str, previous: object) -> object:
        assert isinstance(previous, tuple)
        return (*previous, text)

    def default_text(self) -> str:
        return ""


class FlagSet:
    """The values of one command's own flags in one run."""

    __slots__ = ("flags", "values")

    def __init__(self, flags: Sequence[Flag]) -> None:
        self.flags = flags
        self.values: dict[Flag, object] = {}

    def lookup(self, name: str) -> Flag | None:
        """The flag of that name, or None."""
        for flag in self.flags:
            if name in flag.names:
                return flag
        return None

    def get(self, flag: Flag) -> object:
        """The flag's value, or its default."""
        return self.values.get(flag, flag.default)

    def set(self, flag: Flag, name: str, text: str) -> None:
        """Take a value from the command line; raises FlagError with the name as it was written."""
        previous = self.values.get(flag, () if flag.repeatable else flag.default)
        try:
            self.values[flag] = flag.parse(text, previous)
        except (BuildkitError, ValueError) as err:
            from pybuildkit.golang import strconv

            raise FlagError(f"invalid value {strconv.quote(text)} for flag -{name}: {err}") from err

    def set_names(self) -> list[str]:
        """Every name of the flags that were given."""
        return [name for flag in self.flags if flag in self.values for name in flag.names]


def parse_flags(
    args: Sequence[str],
    lookup: Callable[[str], tuple[FlagSet, Flag] | None],
    is_command: Callable[[str], bool],
    *,
    completing: bool = False,
) -> list[str]:
    """Take the flags out of the arguments of one command.

    Args:
        args: the arguments after the command's name.
        lookup: finds the flag of a name and the set that holds its value, among those that apply to the command.
        is_command: whether a positional argument names a subcommand.
        completing: whether the last argument may be unfinished: then `--`, an unknown flag and one without its value
            end the parsing as positional arguments.

    Returns:
        the positional arguments, a subcommand's unparsed arguments included.

    Raises:
        FlagError: an unknown flag, a missing or a malformed value. The values before it have been set.
    """
    positional: list[str] = []
    rest = list(args)
    while rest:
        first = rest[0].strip()
        if not first:
            positional.append(rest.pop(0))
        elif first == "--":
            return positional + (rest if completing else rest[1:])
        elif first[0] != "-":
            if is_command(first):
                return positional + rest
            positional.append(first)
            rest.pop(0)
        elif first == "-":
            positional.append(first)
            return positional
        elif _ends_flags(first) or (completing and _is_unfinished(first, rest[1:], lookup)):
            return positional + rest
        else:
            rest = _parse_one(first, rest[1:], lookup)
    return positional


def _split(first: str) -> tuple[str, str, str]:
    """A flag's name, "=" where there is one, and what follows that."""
    return first[2 if first.startswith("--") else 1 :].partition("=")


def _is_unfinished(first: str, following: list[str], lookup: Callable[[str], tuple[FlagSet, Flag] | None]) -> bool:
    """Whether the flag is unknown, or its value is still to come."""
    name, equals, _ = _split(first)
    found = lookup(name)
    return found is None or not (found[1].is_bool or equals or following)


def _ends_flags(first: str) -> bool:
    """Whether the argument is a dash and no letter: Go looks at the first byte behind it, taken as a character."""
    return first[1] != "-" and not chr(first[1].encode("utf-8", "surrogateescape")[0]).isalpha()


def _parse_one(first: str, following: list[str], lookup: Callable[[str], tuple[FlagSet, Flag] | None]) -> list[str]:
    """Set the flag that `first` names; returns the arguments that are left."""
    name, equals, value = _split(first)
    found = lookup(name)
    if found is None:
        raise FlagError(f"flag provided but not defined: -{name}")
    values, flag = found
    if flag.is_bool:
        value = value or "true"
    elif not equals:
        if not following:
            raise FlagError(f"flag needs an argument: {first}")
        value, *following = following
    values.set(flag, name, value)
    return following


def visible(flags: Iterable[Flag]) -> list[Flag]:
    """The flags that the help shows."""
    return [flag for flag in flags if not flag.hidden]
