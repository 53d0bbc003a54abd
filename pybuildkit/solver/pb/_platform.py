"""Platforms between LLB's message and the OCI specification's value.

Mirrors solver/pb/platform.go, v0.32.2.
"""

from __future__ import annotations

from collections.abc import Iterable

from pybuildkit.solver.pb import ops_pb2
from pybuildkit.third_party.platforms import Platform


def spec(platform: ops_pb2.Platform) -> Platform:
    """The OCI value of a message."""
    return Platform(
        os=platform.OS,
        architecture=platform.Architecture,
        variant=platform.Variant,
        os_version=platform.OSVersion,
        os_features=tuple(platform.OSFeatures),
    )


def platform_from_spec(platform: Platform) -> ops_pb2.Platform:
    """The message of an OCI value."""
    return ops_pb2.Platform(
        OS=platform.os,
        Architecture=platform.architecture,
        Variant=platform.variant,
        OSVersion=platform.os_version,
        OSFeatures=platform.os_features,
    )


def to_spec_platforms(platforms: Iterable[ops_pb2.Platform]) -> list[Platform]:
    """`spec` of each."""
    return [spec(platform) for platform in platforms]


def platforms_from_spec(platforms: Iterable[Platform]) -> list[ops_pb2.Platform]:
    """`platform_from_spec` of each."""
    return [platform_from_spec(platform) for platform in platforms]
