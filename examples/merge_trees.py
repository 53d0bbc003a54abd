"""Trees made apart and laid over each other, so that changing one makes none of the others again.

python examples/merge_trees.py | pybuildctl build --output type=local,dest=out
"""

from pybuildkit.client import llb

base = llb.scratch().file(
    llb.mkdir("/etc", 0o755).mkfile("/etc/hostname", 0o644, "base\n").mkfile("/etc/motd", 0o644, "welcome\n")
)


def change(name: str, action: llb.FileAction) -> llb.State:
    """What an action changes in the base, and nothing else."""
    return llb.diff(base, base.file(action, llb.with_custom_name(name)))


hostname = change("set the host name", llb.mkfile("/etc/hostname", 0o644, "merged\n"))
motd = change("drop the message", llb.rm("/etc/motd"))
tools = llb.scratch().file(
    llb.mkdir("/opt/tools", 0o755, llb.with_parents(True)).mkfile("/opt/tools/run", 0o755, "#!\n")
)

llb.emit(llb.merge([base, hostname, motd, tools], llb.with_custom_name("lay over each other")))
