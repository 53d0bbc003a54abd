"""The client's end of registry credentials: Docker's configuration, tokens, and keys that prove who fetched them.

Mirrors package session/auth/authprovider of BuildKit, v0.32.2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pybuildkit._lazy import attach

if TYPE_CHECKING:
    from pybuildkit.session.auth.authprovider._authconfig import AuthTLSConfig, TLSKeyPair
    from pybuildkit.session.auth.authprovider._authconfigprovider import (
        DOCKER_HUB_CONFIGFILE_KEY,
        DOCKER_HUB_REGISTRY_HOST,
        AuthConfigProvider,
        ExpireCachedAuthCheck,
        load_auth_config,
    )
    from pybuildkit.session.auth.authprovider._authprovider import (
        DockerAuthProvider,
        DockerAuthProviderConfig,
        Logger,
        new_docker_auth_provider,
    )

_EXPORTS = {
    "DOCKER_HUB_CONFIGFILE_KEY": "_authconfigprovider",
    "DOCKER_HUB_REGISTRY_HOST": "_authconfigprovider",
    "AuthConfigProvider": "_authconfigprovider",
    "AuthTLSConfig": "_authconfig",
    "DockerAuthProvider": "_authprovider",
    "DockerAuthProviderConfig": "_authprovider",
    "ExpireCachedAuthCheck": "_authconfigprovider",
    "Logger": "_authprovider",
    "TLSKeyPair": "_authconfig",
    "load_auth_config": "_authconfigprovider",
    "new_docker_auth_provider": "_authprovider",
}

__all__ = [
    "DOCKER_HUB_CONFIGFILE_KEY",
    "DOCKER_HUB_REGISTRY_HOST",
    "AuthConfigProvider",
    "AuthTLSConfig",
    "DockerAuthProvider",
    "DockerAuthProviderConfig",
    "ExpireCachedAuthCheck",
    "Logger",
    "TLSKeyPair",
    "load_auth_config",
    "new_docker_auth_provider",
]

__getattr__, _ = attach(__name__, _EXPORTS)
