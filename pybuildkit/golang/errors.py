"""The root of every exception of this project, and wrapping with a text in front.

Mirrors github.com/pkg/errors v0.9.1 (Wrap, Is, As, Join) as BuildKit uses it: the text of an error is the text of its
layers, outermost first, joined by `": "`, and each layer stays reachable for code that looks for a class.

    BuildkitError
    ├── WrappedError        a text in front of another error
    ├── JoinedError         several errors, a line each
    └── …                   one class per thing a caller may want to catch, beside the code that raises it
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import TypeVar

    E = TypeVar("E", bound=BaseException)


class BuildkitError(Exception):
    """Any error that this project raises on purpose; `str(err)` is the text that a user sees."""


class WrappedError(BuildkitError):
    """An error with a text in front: `str()` gives `"text: cause"`.

    Args:
        cause: the error that is wrapped; also set as `__cause__`.
        text: what stands in front of the cause's own text.
    """

    def __init__(self, cause: BaseException, text: str) -> None:
        super().__init__(cause, text)
        self.cause = cause
        self.text = text
        self.__cause__ = cause

    def __str__(self) -> str:
        return f"{self.text}: {error_text(self.cause)}"


class JoinedError(BuildkitError):
    """Several errors at once, a line each (Go's `errors.Join`)."""

    def __init__(self, errors: list[BaseException]) -> None:
        super().__init__(errors)
        self.errors = errors
        self.__cause__ = errors[0] if errors else None

    def __str__(self) -> str:
        return "\n".join(error_text(err) for err in self.errors)


_MISTAKES = (AssertionError, AttributeError, LookupError, NameError, TypeError)
"""What a program's own mistake raises, say in a caller's callback: its text says little without its class."""


def error_text(err: BaseException) -> str:
    """The text of an error as Go would print it.

    An `OSError` prints as Go's `PathError`, "open NAME: no such file or directory", without Python's errno and
    quotes; the operation's name is the one that `with_op` gave, else "open". A program's mistake, such as a
    `KeyError`, prints its class too. Others print their `str()`, or their class name where that is empty, unless it is
    an error of this project's that was given an empty text, such as a daemon's.
    """
    if isinstance(err, OSError) and err.strerror and not isinstance(err, BuildkitError):
        strerror = err.strerror[:1].lower() + err.strerror[1:]
        if err.filename is None:
            return strerror
        name = err.filename.decode("utf-8", "replace") if isinstance(err.filename, bytes) else str(err.filename)
        op = getattr(err, "go_op", "open")
        if err.filename2 is not None:
            return f"{op} {name} {err.filename2}: {strerror}"
        return f"{op} {name}: {strerror}"
    if isinstance(err, _MISTAKES):
        return f"{type(err).__name__}: {err}"
    return str(err) or ("" if isinstance(err, BuildkitError) and err.args else type(err).__name__)


def with_op(err: OSError, op: str) -> OSError:
    """Name the system call (Go's word for it, "open", "mkdir", "lstat") that an `OSError` came from."""
    err.go_op = op  # type: ignore[attr-defined]  # a note on the exception, read by error_text
    return err


def wrap(err: BaseException, text: str) -> WrappedError:
    """The error with a text in front; raise it `from err`."""
    return WrappedError(err, text)


def layers(err: BaseException | None) -> Iterator[BaseException]:
    """The error and everything it was made from (`__cause__`, members of a JoinedError), outermost first."""
    pending: list[BaseException] = [err] if err is not None else []
    seen: set[int] = set()
    while pending:
        current = pending.pop(0)
        if id(current) in seen:
            continue
        seen.add(id(current))
        yield current
        if isinstance(current, JoinedError):
            pending[:0] = current.errors
            continue
        # A wrapped error is reached although "raise … from" has named another cause.
        inner = getattr(current, "cause", None)
        pending[:0] = [err for err in (inner, current.__cause__) if isinstance(err, BaseException)]


def find(err: BaseException | None, cls: type[E]) -> E | None:
    """The outermost layer that is an instance of `cls`, or None (Go's `errors.As`)."""
    for layer in layers(err):
        if isinstance(layer, cls):
            return layer
    return None


def is_error(err: BaseException | None, target: BaseException) -> bool:
    """Whether `target` itself is one of the error's layers (Go's `errors.Is`)."""
    return any(layer is target for layer in layers(err))
