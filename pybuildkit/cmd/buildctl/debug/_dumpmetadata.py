"""The command `debug dump-metadata`: what a stopped daemon's databases hold.

Mirrors cmd/buildctl/debug/dumpmetadata.go, v0.32.2.
"""

from __future__ import annotations

import os

from pybuildkit.golang.errors import with_op
from pybuildkit.golang.strconv import quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from pybuildkit.cmd.buildctl._app import CommandContext
    from pybuildkit.third_party.bbolt import Bucket

_FILE = "metadata_v2.db"


def dump_metadata(c: CommandContext) -> None:
    """Print every bucket of every worker's database below the state folder.

    Raises:
        OSError: a folder or a file cannot be read.
        BoltError: a file is no database, or another process has it open for writing.
    """
    from pybuildkit.third_party import bbolt

    for path in _files(c.string("root")):
        c.stdout.write(f"===== {path} =====\n")
        with bbolt.open(path) as root:
            for name, bucket in root.buckets():
                for line in _lines(name, bucket, ""):
                    c.stdout.write(line)


def _files(root: str) -> list[str]:
    try:
        entries = sorted(os.scandir(root), key=lambda entry: os.fsencode(entry.name))
    except OSError as err:
        raise with_op(err, "open") from err
    found = []
    for entry in entries:
        if not entry.is_dir(follow_symlinks=False):
            continue
        path = os.path.normpath(os.path.join(root, entry.name, _FILE))
        try:
            os.stat(path)
        except FileNotFoundError:
            continue
        except OSError as err:
            raise with_op(err, "stat") from err
        found.append(path)
    return found


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def _lines(name: bytes, bucket: Bucket, indent: str) -> Iterator[str]:
    yield f"{indent}bucket {quote(_text(name))}:\n"
    for key, value in bucket.items():
        if isinstance(value, bytes):
            yield f"{indent}  {quote(_text(key))}: {_text(value)}\n"
        else:
            yield from _lines(key, value, indent + "  ")
