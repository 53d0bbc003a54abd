"""A build whose Dockerfile comes from memory: over a directory, and with a second directory put below it.

    python examples/memory_context.py [ADDRESS [DIRECTORY]]

Without an address the build runs in this process. The result is printed as a list of its files.
"""

import asyncio
import io
import sys
import tarfile
import time

from pybuildkit import BuildkitError, client
from pybuildkit.golang import context
from pybuildkit.third_party.fsutil import FS, MODE_DIR, Dir, MergeFS, Stat, StaticFS, SubDirFS, new_fs

DOCKERFILE = """
FROM scratch
COPY . /
"""


def in_memory(files: dict[str, str]) -> StaticFS:
    """Files from memory. Their time is new: a daemon takes a file of the same size and time for unchanged."""
    fs = StaticFS()
    for name, text in files.items():
        fs.add(name, Stat(mod_time=time.time_ns()), text.encode())
    return fs


class Archive:
    """Where the result goes: a tar file in memory."""

    def __init__(self) -> None:
        self.data = bytearray()

    def write_all(self, data: bytes | bytearray | memoryview) -> None:
        """Take a piece."""
        self.data += data

    def close(self) -> None:
        """The result is whole."""

    def abort(self) -> None:
        """The build failed."""
        self.data.clear()


async def main(address: str, directory: str) -> None:
    generated = in_memory({"version": "1.2.3\n", "greeting": "from memory\n"})
    base: FS = new_fs(directory) if directory else in_memory({"greeting": "from below\n", "note": "kept\n"})
    # The upper file system's entries count where both have one.
    merged = MergeFS(base, generated)
    # Each of these becomes a directory of the context.
    tree = SubDirFS(
        [Dir(Stat(path=name, mode=MODE_DIR | 0o755), fs) for name, fs in ((b"a", merged), (b"b", generated))]
    )

    archive = Archive()
    ctx = context.background()
    async with await client.new(ctx, address) as connection:
        dockerfile = in_memory({"Dockerfile": DOCKERFILE, "Dockerfile.dockerignore": "b/greeting\n"})
        opt = client.SolveOpt(
            frontend="dockerfile.v0",
            local_mounts={"context": tree, "dockerfile": dockerfile},
            exports=[client.ExportEntry(type="tar", output=lambda metadata: archive)],
        )
        await connection.solve(ctx, None, opt)
    with tarfile.open(fileobj=io.BytesIO(archive.data)) as tar:
        for member in tar:
            file = tar.extractfile(member) if member.isreg() else None
            sys.stdout.write(f"{member.name}: {file.read().decode().strip()}\n" if file else f"{member.name}\n")


if __name__ == "__main__":
    arguments = [*sys.argv[1:], *["embedded://", ""][len(sys.argv) - 1 :]]
    try:
        asyncio.run(main(arguments[0], arguments[1]))
    except BuildkitError as err:
        sys.exit(f"error: {err}")
