"""The standard streams as a command meets them: closed, full, or with nobody at the other end.

Has no counterpart in BuildKit. As Go's runtime does, a standard descriptor that is closed when the program begins is
opened on /dev/null, so that no file or socket takes its number. Differs from BuildKit on purpose: a reader that goes
away is not an instant death by SIGPIPE; the write fails, whoever asked to be told is told, and the program ends by
SIGPIPE once it has cleaned up.
"""

from __future__ import annotations

import os

from pybuildkit.golang.errors import BuildkitError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pybuildkit.rpc import Buffer

_closed: set[int] = set()
_broken: set[int] = set()
_listeners: list[Callable[[], None]] = []

_NAMES = {0: "/dev/stdin", 1: "/dev/stdout", 2: "/dev/stderr"}


class StdClosedError(BuildkitError):
    """The reader of a standard stream has gone away."""


def open_closed_descriptors() -> None:
    """Open /dev/null in place of each standard descriptor that is closed, and remember which."""
    for fd in (0, 1, 2):
        try:
            os.fstat(fd)
        except OSError:
            _closed.add(fd)
            null = os.open(os.devnull, os.O_RDWR)
            if null != fd:
                os.dup2(null, fd, inheritable=True)
                os.close(null)
            else:
                os.set_inheritable(fd, True)


def was_closed(fd: int) -> bool:
    """Whether a standard descriptor was closed when the program began."""
    return fd in _closed


def is_broken() -> bool:
    """Whether the reader of a standard stream has gone away."""
    return bool(_broken)


def mark_broken(fd: int) -> None:
    """Note that the reader of a standard stream has gone away, and tell the listeners, once each."""
    _broken.add(fd)
    while _listeners:
        _listeners.pop()()


def on_broken(listener: Callable[[], None]) -> Callable[[], None]:
    """Call `listener`, in the thread that noticed, when a standard stream breaks; returns what takes it back."""
    _listeners.append(listener)

    def stop() -> None:
        if listener in _listeners:
            _listeners.remove(listener)

    return stop


class Std:
    """A standard stream without a buffer; what is written has left the process when `write` returns.

    Args:
        fd: the file descriptor; it is never closed.
        lossy: whether data is dropped without an error where the stream takes none (a full disk), as BuildKit does
            with its progress.
    """

    __slots__ = ("_lossy", "fd")

    def __init__(self, fd: int, *, lossy: bool = False) -> None:
        self.fd = fd
        self._lossy = lossy

    def write(self, data: str | Buffer) -> None:
        """Write all of the text (as UTF-8) or the bytes.

        Raises:
            StdClosedError: the reader is gone; the program ends by SIGPIPE when it has cleaned up.
            OSError: the stream takes no data.
        """
        rest = memoryview(data.encode("utf-8", "surrogateescape") if isinstance(data, str) else data)
        while rest:
            try:
                rest = rest[os.write(self.fd, rest) :]
            except BlockingIOError:
                import select

                select.select((), (self.fd,), ())
            except BrokenPipeError as err:
                mark_broken(self.fd)
                raise StdClosedError(f"write {_NAMES.get(self.fd, self.fd)}: broken pipe") from err
            except OSError as err:
                if self._lossy:
                    return
                err.filename = _NAMES.get(self.fd)
                err.go_op = "write"  # type: ignore[attr-defined]  # read by error_text
                raise

    def show(self, text: str) -> None:
        """Write what a daemon says: as it is, but on a terminal without anything that steers it; raises as `write`."""
        if not text.replace("\n", "").replace("\t", "").isprintable() and self.isatty():
            from pybuildkit.util.progress.progressui._clean import clean_text

            text = clean_text(text)
        self.write(text)

    def isatty(self) -> bool:
        """Whether the stream is a terminal."""
        try:
            return os.isatty(self.fd)
        except OSError:
            return False
