"""Capability lists and sets.

A `CapList` is what a program knows; the daemon sends what it has; `CapList.cap_set` joins both, and a capability
counts as supported only when it is in both and enabled by the daemon.

Mirrors util/apicaps/caps.go, v0.32.2. Differs: the product's name, a global there, is set by a function.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from pybuildkit.golang.errors import BuildkitError

if TYPE_CHECKING:
    from pybuildkit.util.apicaps.pb import caps_pb2


class CapStatus(enum.IntEnum):
    """How stable a capability is."""

    STABLE = 0
    EXPERIMENTAL = 1
    PRERELEASE = 2


CAP_STATUS_STABLE: Final = CapStatus.STABLE
CAP_STATUS_EXPERIMENTAL: Final = CapStatus.EXPERIMENTAL
CAP_STATUS_PRERELEASE: Final = CapStatus.PRERELEASE

_product = ""


def set_exported_product(name: str) -> None:
    """Name the product that error texts ask the user to update (BuildKit's own client leaves it empty)."""
    global _product
    _product = name


@dataclass(frozen=True, kw_only=True, slots=True)
class Cap:
    """One capability as a program knows it."""

    id: str
    name: str = ""
    status: CapStatus = CapStatus.STABLE
    enabled: bool = False
    deprecated: bool = False
    supported_hint: Mapping[str, str] = field(default_factory=dict)
    disabled_reason: str = ""
    disabled_reason_msg: str = ""
    disabled_alternative: str = ""


class CapError(BuildkitError):
    """A capability that the build needs is unknown, missing at the daemon, or switched off there.

    Attributes:
        id: the capability's identifier.
        definition: what this program knows of it, or None.
        state: what the daemon says of it, or None where it says nothing.
    """

    def __init__(self, id: str, definition: Cap | None = None, state: caps_pb2.APICap | None = None) -> None:
        super().__init__(id)
        self.id = id
        self.definition = definition
        self.state = state

    def __str__(self) -> str:
        if self.definition is None:
            return f"unknown API capability {self.id}"
        kind = {CapStatus.EXPERIMENTAL: "experimental ", CapStatus.PRERELEASE: "prerelease "}
        name = f"({self.definition.name})" if self.definition.name else ""
        text = f"requested {kind.get(self.definition.status, '')}feature {self.id} {name}"
        if self.state is not None:
            reason = self.state.DisabledReasonMsg
            return f"{text} has been disabled on the build server" + (f": {reason}" if reason else "")
        hint = self.definition.supported_hint.get(_product)
        added = f" (added in {hint})" if hint is not None else ""
        return f"{text} is not supported by build server{added}, please update {_product}"


class CapList:
    """The capabilities that a program knows, by identifier."""

    def __init__(self, caps: Iterable[Cap] = ()) -> None:
        self._caps: dict[str, Cap] = {}
        self.init(*caps)

    def init(self, *caps: Cap) -> None:
        """Add capabilities; one with a known identifier replaces the earlier one."""
        for cap in caps:
            self._caps[cap.id] = cap

    def get(self, id: str) -> Cap | None:
        """The capability with that identifier, or None."""
        return self._caps.get(id)

    def all(self) -> list[caps_pb2.APICap]:
        """Every capability as a daemon announces it, in the order of the identifiers."""
        from pybuildkit.util.apicaps.pb import caps_pb2

        return [
            caps_pb2.APICap(
                ID=cap.id,
                Enabled=cap.enabled,
                Deprecated=cap.deprecated,
                DisabledReason=cap.disabled_reason,
                DisabledReasonMsg=cap.disabled_reason_msg,
                DisabledAlternative=cap.disabled_alternative,
            )
            for _, cap in sorted(self._caps.items())
        ]

    def cap_set(self, caps: Iterable[caps_pb2.APICap]) -> CapSet:
        """What a daemon that announces `caps` supports of this list."""
        return CapSet(self, {cap.ID: cap for cap in caps if cap.ID})


class CapSet:
    """What one daemon supports; made by `CapList.cap_set`."""

    def __init__(self, caps: CapList, announced: Mapping[str, caps_pb2.APICap]) -> None:
        self._list = caps
        self._set = announced

    def supports(self, id: str) -> None:
        """Raise CapError unless both sides know the capability and the daemon has it enabled."""
        definition = self._list.get(id)
        state = self._set.get(id) if definition is not None else None
        if state is None or not state.Enabled:
            raise CapError(id, definition, state)

    def contains(self, id: str) -> bool:
        """Whether the daemon names the capability at all, enabled or not."""
        return id in self._set
