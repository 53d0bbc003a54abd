"""Reading files with Go's texts for what goes wrong. Mirrors os.ReadFile of Go 1.26."""

from __future__ import annotations

from pybuildkit.golang.errors import with_op


def read_file(path: str) -> bytes:
    """A file's whole content.

    Raises:
        OSError: it cannot be opened ("open PATH: …") or read ("read PATH: …", so for a directory).
    """
    try:
        with open(path, "rb") as file:
            return file.read()
    except IsADirectoryError as err:
        raise with_op(err, "read") from None
    except OSError as err:
        if err.filename is None:
            err.filename = path
            raise with_op(err, "read") from None
        raise
