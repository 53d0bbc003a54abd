"""`--oci-layout`. Mirrors cmd/buildctl/build/ocilayout.go, v0.32.2.

Differs on purpose: the layout is an input, so the daemon cannot write to it or delete from it.
"""

from __future__ import annotations

from collections.abc import Iterable

from pybuildkit.cmd.buildctl.build._build import FlagValueError
from pybuildkit.golang.errors import BuildkitError, wrap
from pybuildkit.third_party.containerd.content import Store, local


def parse_oci_layout(values: Iterable[str]) -> dict[str, Store]:
    """The content stores that the build may read, by the id that the frontend asks for.

    Raises:
        FlagValueError: a value without `=`.
        BuildkitError: a layout that cannot be opened or made.
    """
    stores: dict[str, Store] = {}
    for value in values:
        name, equals, directory = value.partition("=")
        if not equals:
            raise FlagValueError(f"oci-layout option must be 'id=path/to/layout', instead had invalid {value}")
        try:
            stores[name] = local.new_store(directory, read_only=True)
        except (BuildkitError, OSError) as err:
            raise wrap(err, f"oci-layout context at {directory} failed to initialize") from err
    return stores
