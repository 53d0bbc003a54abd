"""Options: values that change what a call builds, applied in the order in which they are given.

Mirrors how the option types of client/llb, v0.32.2, work together.

An option is made by a function (`llb.shlex("ls")`) and applied through the method of the call that takes it
(`set_run_option`, `set_image_option`, …). What has no such method is refused with a text that names both.

Each maker is a function that returns the change; `maker` turns it into one that returns an option which remembers
how it was called, for `repr` and error texts.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Generic, ParamSpec, Self, TypeVar

from pybuildkit.client.llb._errors import OptionError

_P = ParamSpec("_P")
_T = TypeVar("_T")


class Option(Generic[_T]):
    """A change to a `T`; subclasses say which calls take it."""

    __slots__ = ("_apply", "_args", "_kwargs", "_name")

    def __init__(
        self,
        apply: Callable[[_T], None],
        name: str = "",
        args: tuple[object, ...] = (),
        kwargs: dict[str, object] | None = None,
    ) -> None:
        self._apply = apply
        self._name = name
        self._args: tuple[object, ...] | None = args
        self._kwargs = kwargs or {}

    def __repr__(self) -> str:
        if self._args is None:
            return f"llb.{self._name}"
        parts = [repr(arg) for arg in self._args]
        parts += [f"{key}={value!r}" for key, value in self._kwargs.items()]
        return f"llb.{self._name}({', '.join(parts)})"

    def as_constant(self, name: str) -> Self:
        """The option itself, which from now on shows as a name instead of a call."""
        self._name = name
        self._args = None
        return self


_OptionT = TypeVar("_OptionT")


def maker(
    option: Callable[[Callable[[_T], None], str, tuple[object, ...], dict[str, object]], _OptionT],
    make: Callable[_P, Callable[[_T], None]],
) -> Callable[_P, _OptionT]:
    """A function that calls `make` and returns its change as an `option`."""

    @functools.wraps(make)
    def call(*args: _P.args, **kwargs: _P.kwargs) -> _OptionT:
        return option(make(*args, **kwargs), make.__name__, args, kwargs)

    return call


def apply_options(options: Iterable[object], method: str, info: object, taker: str) -> None:
    """Apply each option to `info` through its `method`.

    Args:
        taker: the call's name, for the error.

    Raises:
        OptionError: for a value that has no such method.
    """
    for option in options:
        apply = getattr(option, method, None)
        if apply is None or isinstance(option, type):
            raise OptionError(f"{taker}() does not take {describe(option)}")
        apply(info)


def describe(value: object) -> str:
    """How an error text shows an argument: options as they were made, a function by its name."""
    name = getattr(value, "__name__", None)
    if callable(value) and isinstance(name, str):
        return f"{name} (a function that was not called?)"
    text = repr(value)
    return text if len(text) <= 120 else text[:117] + "..."
