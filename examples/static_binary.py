"""A static binary from source: compile a C program and keep nothing but the program.

    python examples/static_binary.py | pybuildctl build --local toolchain=DIR --output type=local,dest=out

`toolchain` is a directory with a root file system that has `cc`, or at least a static busybox as `bin/busybox`; with
`--busybox` the "compiler" is busybox itself, which is enough to try the graph. The daemon must run containers; the
embedded one does not.
"""

import sys

from pybuildkit.client import llb

SOURCE = r"""
#include <stdio.h>
int main(void) { puts("hello from a static binary"); return 0; }
"""

toolchain = llb.local("toolchain", llb.shared_key_hint("toolchain"))
source = llb.scratch().file(llb.mkfile("/hello.c", 0o644, SOURCE), llb.with_custom_name("write hello.c"))
compile_command = ["/usr/bin/cc", "-static", "-O2", "-o", "/out/hello", "/src/hello.c"]
if "--busybox" in sys.argv:
    compile_command = ["/bin/busybox", "cp", "/bin/busybox", "/out/hello"]

compiled = toolchain.run(
    llb.args(compile_command),
    llb.add_mount("/src", source, llb.readonly),
    llb.network(llb.NET_MODE_NONE),
    llb.with_custom_name("compile"),
).add_mount("/out", llb.scratch())

llb.emit(llb.scratch().file(llb.copy(compiled, "/hello", "/usr/bin/hello", llb.CopyInfo(create_dest_path=True))))
