"""A nested build: the outer graph writes a definition into a file, and the daemon builds that in turn.

    python examples/nested_build.py | pybuildctl build --output type=local,dest=out

A program that runs in the build could have written the definition just as well.
"""

from pybuildkit.client import llb
from pybuildkit.client.llb import llbbuild

inner = llb.scratch().file(llb.mkfile("/from-inside", 0o644, "built by a build\n"), llb.with_custom_name("inner"))
definition = inner.marshal_sync(llb.linux_amd64).to_bytes()

outer = llb.scratch().file(
    llb.mkfile("/inner.llb", 0o644, definition), llb.with_custom_name("write the inner definition")
)

llb.emit(outer.with_(llbbuild.build(llbbuild.with_filename("/inner.llb"))), llb.linux_amd64)
