"""Platforms: `os(version+feature)/architecture/variant` and its parts.

Mirrors github.com/containerd/platforms, v1.0.0-rc.4.

Differs from Go: the processor's ARM variant is read from the machine's name (`armv6l`), not from /proc/cpuinfo.
"""

from __future__ import annotations

import os as _os
import sys

from pybuildkit.golang.errors import BuildkitError
from pybuildkit.golang.strconv import quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

_KNOWN_OS = frozenset(
    [
        "aix",
        "android",
        "darwin",
        "dragonfly",
        "freebsd",
        "hurd",
        "illumos",
        "ios",
        "js",
        "linux",
        "nacl",
        "netbsd",
        "openbsd",
        "plan9",
        "solaris",
        "windows",
        "zos",
    ]
)
_KNOWN_ARCH = frozenset(
    [
        "386",
        "amd64",
        "amd64p32",
        "arm",
        "armbe",
        "arm64",
        "arm64be",
        "ppc64",
        "ppc64le",
        "loong64",
        "mips",
        "mipsle",
        "mips64",
        "mips64le",
        "mips64p32",
        "mips64p32le",
        "ppc",
        "riscv",
        "riscv64",
        "s390",
        "s390x",
        "sparc",
        "sparc64",
        "wasm",
    ]
)
_OS_PATTERN = r"^([A-Za-z0-9_-]+)(?:\(([A-Za-z0-9_.%-]*)((?:\+[A-Za-z0-9_.%-]+)*)\))?$"
_SPECIFIER_PATTERN = r"^[A-Za-z0-9_.-]+$"
_ESCAPES = {"%": "%25", "+": "%2B", "(": "%28", ")": "%29", "/": "%2F"}


class PlatformError(BuildkitError):
    """A text that is no platform."""


class Platform:
    """An OCI platform; equal to another with the same parts, and never changed."""

    __slots__ = ("architecture", "os", "os_features", "os_version", "variant")

    os: str
    architecture: str
    variant: str
    os_version: str
    os_features: tuple[str, ...]

    def __init__(
        self,
        os: str = "",
        architecture: str = "",
        variant: str = "",
        os_version: str = "",
        os_features: Iterable[str] = (),
    ) -> None:
        set_part = object.__setattr__
        set_part(self, "os", os)
        set_part(self, "architecture", architecture)
        set_part(self, "variant", variant)
        set_part(self, "os_version", os_version)
        set_part(self, "os_features", tuple(os_features))

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a platform's {name} cannot be changed")

    def _parts(self) -> tuple[str, str, str, str, tuple[str, ...]]:
        return self.os, self.architecture, self.variant, self.os_version, self.os_features

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Platform) and self._parts() == other._parts()

    def __hash__(self) -> int:
        return hash(self._parts())

    def __repr__(self) -> str:
        return f"Platform({format_all(self)!r})"

    def __reduce__(self) -> tuple[type[Platform], tuple[str, str, str, str, tuple[str, ...]]]:
        return Platform, self._parts()


_GO_ARCHITECTURES = {
    "x86_64": "amd64",
    "amd64": "amd64",
    "i386": "386",
    "i686": "386",
    "aarch64": "arm64",
    "arm64": "arm64",
    "loongarch64": "loong64",
    "mips64": "mips64le" if sys.byteorder == "little" else "mips64",
    "mips": "mipsle" if sys.byteorder == "little" else "mips",
}


def _machine() -> str:
    return _os.uname().machine.lower()


def host_os() -> str:
    """The name that Go has for this machine's operating system."""
    return "windows" if sys.platform == "win32" else sys.platform


def host_architecture() -> str:
    """The name that Go has for this machine's architecture."""
    machine = _machine()
    return "arm" if machine.startswith("arm") and machine != "arm64" else _GO_ARCHITECTURES.get(machine, machine)


def _cpu_variant() -> str:
    machine = _machine()
    if machine in ("aarch64", "arm64"):
        return "v8"
    if machine.startswith("armv") and machine[4:5].isdigit():
        return "v" + machine[4]
    return "v7" if machine.startswith("arm") else ""


def default_spec() -> Platform:
    """This machine's platform."""
    return Platform(os=host_os(), architecture=host_architecture(), variant=_cpu_variant())


def parse(specifier: str, host: Platform | None = None) -> Platform:
    """The platform that a text names; a lone system or architecture is completed from the host's.

    Args:
        host: what completes, None for this machine.

    Raises:
        PlatformError: the text names none.
    """
    import re

    if "*" in specifier:
        raise PlatformError(f"{quote(specifier)}: wildcards not yet supported: invalid argument")
    parts = specifier.split("/", 3)
    match = re.match(_OS_PATTERN, parts[0])
    if match is None or parts[0].endswith("\n"):
        raise _bad_component(parts[0], "OS component", "OSAndVersion", specifier, _OS_PATTERN)
    system = _normalize_os(match[1], host)
    version, features = _os_options(specifier, match[2] or "", match[3] or "")
    for part in parts[1:]:
        if not re.match(_SPECIFIER_PATTERN, part) or part.endswith("\n"):
            raise _bad_component(part, "component", "platform", specifier, _SPECIFIER_PATTERN)
    if len(parts) == 1:
        return _complete(specifier, system, version, features, host)
    if len(parts) > 3:
        raise PlatformError(f"{quote(specifier)}: cannot parse platform specifier: invalid argument")
    architecture, variant = _normalize_arch(parts[1], parts[2] if len(parts) == 3 else "")
    if len(parts) == 2 and architecture == "arm" and variant == "v7":
        variant = ""
    if len(parts) == 3 and architecture == "arm64" and not variant:
        variant = "v8"
    return Platform(system, architecture, variant, version, features)


def _bad_component(part: str, what: str, kind: str, specifier: str, pattern: str) -> PlatformError:
    return PlatformError(
        f"{quote(part)} is an invalid {what} of {quote(specifier)}: "
        f"{kind} specifier component must match {quote(pattern)}: invalid argument"
    )


def _os_options(specifier: str, version: str, features: str) -> tuple[str, tuple[str, ...]]:
    try:
        decoded = _decode(version)
    except PlatformError as err:
        raise PlatformError(f"{quote(specifier)} has an invalid OS version {quote(version)}: {err}") from err
    found = []
    for raw in features[1:].split("+") if features else ():
        try:
            feature = _decode(raw)
        except PlatformError as err:
            raise PlatformError(
                f"{quote(specifier)} has invalid OS features: invalid os feature {quote(raw)}: {err}"
            ) from err
        if feature:
            found.append(feature)
    return decoded, tuple(found)


def _decode(text: str) -> str:
    if "%" not in text:
        return text
    out = bytearray()
    data = text.encode("utf-8", "surrogateescape")
    position = 0
    while position < len(data):
        if data[position] != 0x25:
            out.append(data[position])
            position += 1
            continue
        escape = data[position : position + 3]
        try:
            out.append(int(escape[1:], 16) if len(escape) == 3 and escape[1:].isalnum() else _no_escape())
        except ValueError:
            raise PlatformError(f"invalid URL escape {quote(escape.decode('utf-8', 'surrogateescape'))}") from None
        position += 3
    return out.decode("utf-8", "surrogateescape")


def _no_escape() -> int:
    raise ValueError("no escape")


def _complete(specifier: str, system: str, version: str, features: tuple[str, ...], host: Platform | None) -> Platform:
    here = host or default_spec()
    if system in _KNOWN_OS:
        variant = here.variant if here.architecture == "arm" and here.variant != "v7" else ""
        return Platform(system, here.architecture, variant, version, features)
    architecture, variant = _normalize_arch(specifier, "")
    if architecture == "arm" and variant == "v7":
        variant = ""
    if architecture not in _KNOWN_ARCH:
        raise PlatformError(f"{quote(specifier)}: unknown operating system or architecture: invalid argument")
    return Platform(here.os, architecture, variant, version, features)


def format(platform: Platform) -> str:
    """`os/architecture/variant`, or "unknown" without a system."""
    if not platform.os:
        return "unknown"
    return _join(platform.os, platform.architecture, platform.variant)


def format_all(platform: Platform) -> str:
    """`format`, with the system's version and features in parentheses."""
    if not platform.os:
        return "unknown"
    features = "".join("+" + _encode(feature) for feature in sorted(set(platform.os_features)) if feature)
    options = _encode(platform.os_version) + features
    system = f"{platform.os}({options})" if options else platform.os
    return _join(system, platform.architecture, platform.variant)


def _join(*parts: str) -> str:
    from posixpath import normpath

    path = "/".join(part for part in parts if part)
    return normpath(path) if path else ""


def _encode(text: str) -> str:
    return "".join(_ESCAPES.get(char, char) for char in text)


def normalize(platform: Platform) -> Platform:
    """The platform with the usual names: `aarch64` is arm64, `macOS` darwin, and what is the default is left out."""
    architecture, variant = _normalize_arch(platform.architecture, platform.variant)
    features = sorted(set(platform.os_features))
    return Platform(_normalize_os(platform.os, None), architecture, variant, platform.os_version, features)


def _normalize_os(system: str, host: Platform | None) -> str:
    if not system:
        return host.os if host else host_os()
    system = system.lower()
    return "darwin" if system == "macos" else system


_ARM_VARIANTS = {"": "v7", "7": "v7", "5": "v5", "6": "v6", "8": "v8"}
_ARM64_VARIANTS = {"8": "", "v8": "", "v8.0": "", "9": "v9", "9.0": "v9", "v9.0": "v9"}


def _normalize_arch(architecture: str, variant: str) -> tuple[str, str]:
    architecture, variant = architecture.lower(), variant.lower()
    if architecture == "i386":
        return "386", ""
    if architecture in ("x86_64", "x86-64", "amd64"):
        return "amd64", "" if variant == "v1" else variant
    if architecture in ("aarch64", "arm64"):
        return "arm64", _ARM64_VARIANTS.get(variant, variant)
    if architecture == "armhf":
        return "arm", "v7"
    if architecture == "armel":
        return "arm", "v6"
    if architecture == "arm":
        return "arm", _ARM_VARIANTS.get(variant, variant)
    return architecture, variant
