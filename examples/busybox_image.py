"""A small root file system from a static busybox: links for its commands, made by busybox itself in a container.

    python examples/busybox_image.py | pybuildctl build --local context=DIR --output type=tar,dest=rootfs.tar

`context` is a directory with a static `busybox` in it. The daemon must run containers; the embedded one does not.
"""

from pybuildkit.client import llb

context = llb.local("context", llb.include_patterns(["busybox"]), llb.shared_key_hint("busybox"))
rootfs = llb.scratch().file(
    llb.mkdir("/bin", 0o755)
    .mkdir("/etc", 0o755)
    .mkdir("/tmp", 0o755)
    .copy(context, "/busybox", "/bin/busybox", llb.ChmodOpt(mode=0o755))
    .mkfile("/etc/passwd", 0o644, "root:x:0:0:root:/:/bin/sh\n"),
    llb.with_custom_name("lay out the root"),
)
installed = rootfs.run(
    llb.args(["/bin/busybox", "--install", "-s", "/bin"]),
    llb.network(llb.NET_MODE_NONE),
    llb.add_mount("/tmp", llb.scratch(), llb.tmpfs()),
    llb.with_custom_name("install the commands"),
).root()

llb.emit(installed)
