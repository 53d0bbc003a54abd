"""LLB's messages (`ops_pb2`) and what belongs to them: capabilities, attributes, platforms, JSON.

Mirrors package solver/pb of BuildKit, v0.32.2. The constants `ATTR_…` and `CAP_…` are those of `attr.go` and
`caps.go`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pybuildkit._lazy import attach

if TYPE_CHECKING:
    from pybuildkit.solver.pb._attr import *  # noqa: F403
    from pybuildkit.solver.pb._caps import *  # noqa: F403
    from pybuildkit.solver.pb._const import (
        EMPTY,
        LLB_BUILDER,
        LLB_DEFAULT_DEFINITION_FILE,
        LLB_DEFINITION_INPUT,
        ROOT_MOUNT,
        SKIP_OUTPUT,
        SecurityModeError,
        validate_security_mode,
    )
    from pybuildkit.solver.pb._json import Json, from_json, to_json
    from pybuildkit.solver.pb._marshal import marshal
    from pybuildkit.solver.pb._platform import platform_from_spec, platforms_from_spec, spec, to_spec_platforms
    from pybuildkit.solver.pb._unmarshal import UnmarshalError, check, unmarshal

_MODULES = {
    "EMPTY": "_const",
    "LLB_BUILDER": "_const",
    "LLB_DEFAULT_DEFINITION_FILE": "_const",
    "LLB_DEFINITION_INPUT": "_const",
    "ROOT_MOUNT": "_const",
    "SKIP_OUTPUT": "_const",
    "Json": "_json",
    "SecurityModeError": "_const",
    "UnmarshalError": "_unmarshal",
    "check": "_unmarshal",
    "from_json": "_json",
    "marshal": "_marshal",
    "platform_from_spec": "_platform",
    "platforms_from_spec": "_platform",
    "spec": "_platform",
    "to_json": "_json",
    "to_spec_platforms": "_platform",
    "unmarshal": "_unmarshal",
    "validate_security_mode": "_const",
}
_load, _ = attach(__name__, _MODULES)


def __getattr__(name: str) -> object:
    module = "_attr" if name.startswith("ATTR_") else "_caps" if name.startswith("CAP") else None
    if module is None:
        return _load(name)
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{module}"), name)


__all__ = [
    "EMPTY",
    "LLB_BUILDER",
    "LLB_DEFAULT_DEFINITION_FILE",
    "LLB_DEFINITION_INPUT",
    "ROOT_MOUNT",
    "SKIP_OUTPUT",
    "Json",
    "SecurityModeError",
    "UnmarshalError",
    "check",
    "from_json",
    "marshal",
    "platform_from_spec",
    "platforms_from_spec",
    "spec",
    "to_json",
    "to_spec_platforms",
    "unmarshal",
    "validate_security_mode",
]
