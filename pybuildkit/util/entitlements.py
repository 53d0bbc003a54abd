"""Extra privileges that a build may be allowed to use.

Mirrors util/entitlements/entitlements.go, v0.32.2.

A privilege is one of `network.host`, `security.insecure` and `device`; the last takes a device as its value,
`device=NAME[,alias=ALIAS]`, and means all devices without one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from pybuildkit.golang.errors import BuildkitError
from pybuildkit.golang.strconv import quote
from pybuildkit.third_party import csvvalue

SECURITY_INSECURE = "security.insecure"
NETWORK_HOST = "network.host"
DEVICE = "device"

ALL = frozenset({SECURITY_INSECURE, NETWORK_HOST, DEVICE})


class EntitlementError(BuildkitError):
    """A privilege that does not exist, is malformed or is not granted."""


@dataclass(slots=True)
class DevicesConfig:
    """The devices that are allowed.

    Args:
        devices: alias (or name where there is none) to the device's name ("" where there is no alias).
        all: whether every device is.
    """

    devices: dict[str, str] = field(default_factory=dict)
    all: bool = False

    def merge(self, other: DevicesConfig) -> None:
        """Also allow what `other` allows."""
        if other.all:
            self.all = True
        else:
            self.devices.update(other.devices)


def parse_devices_config(text: str) -> DevicesConfig:
    """The devices that a value allows; raises EntitlementError or csvvalue's errors where it is malformed."""
    if not text:
        return DevicesConfig(all=True)
    name, *options = csvvalue.fields(text)
    alias = ""
    for option in options:
        key, equals, value = option.partition("=")
        if not equals:
            raise EntitlementError(f"invalid device config {quote(option)}")
        if key != "alias":
            raise EntitlementError(f"unknown device config key {quote(key)}")
        alias = value
    return DevicesConfig({alias: name} if alias else {name: ""})


def parse(text: str) -> tuple[str, DevicesConfig | None]:
    """The privilege that a text names, with its devices; raises EntitlementError where there is none."""
    key, _, rest = text.partition("=")
    config = None
    if key == DEVICE:
        config = parse_devices_config(rest)
        text = key
    if text not in ALL:
        raise EntitlementError(f"unknown entitlement {text}")
    return text, config


def white_list(allowed: Iterable[str], supported: Sequence[str] | None = None) -> dict[str, DevicesConfig | None]:
    """The privileges of a build.

    Args:
        allowed: what the build asks for.
        supported: what the daemon grants at all, None for everything.

    Raises:
        EntitlementError: one is unknown or not granted.
    """
    granted = None if supported is None else white_list(supported)
    result: dict[str, DevicesConfig | None] = {}
    for text in allowed:
        name, config = parse(text)
        if granted is not None and name not in granted:
            raise EntitlementError(f"granting entitlement {name} is not allowed by build daemon configuration")
        previous = result.get(name)
        if previous is not None and config is not None:
            previous.merge(config)
        else:
            result[name] = config
    return result
