"""One program for several platforms, each in a directory of its own: the same function for every platform.

python examples/platform_matrix.py | pybuildctl build --output type=local,dest=out
python examples/platform_matrix.py linux/amd64 linux/riscv64 | pybuildctl build --output type=local,dest=out
"""

import sys

from pybuildkit import BuildkitError
from pybuildkit.client import llb
from pybuildkit.third_party.platforms import Platform, format, parse


def build(platform: Platform) -> llb.State:
    """The tree of one platform."""
    name = format(platform)
    return llb.scratch().file(
        llb.mkdir("/etc", 0o755).mkfile("/etc/platform", 0o644, f"{name}\n"),
        llb.platform(platform),
        llb.with_custom_name(f"[{name}] write /etc/platform"),
    )


try:
    platforms = [parse(text) for text in sys.argv[1:] or ["linux/amd64", "linux/arm64", "linux/arm/v7"]]
except BuildkitError as err:
    sys.exit(f"error: {err}")
result = llb.scratch()
for platform in platforms:
    directory = "/" + format(platform).replace("/", "_")
    result = result.file(llb.copy(build(platform), "/", directory, llb.CopyInfo(create_dest_path=True)))

llb.emit(result)
