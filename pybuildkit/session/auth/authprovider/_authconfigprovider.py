"""Credentials from Docker's configuration. Mirrors session/auth/authprovider/authconfigprovider.go, v0.32.2.

Differs on purpose: a credential helper runs in a thread with a time limit, and is ended when the daemon stops asking.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

from pybuildkit.golang.context import Context
from pybuildkit.third_party.docker_config import AuthConfig

if TYPE_CHECKING:
    from pybuildkit.third_party.docker_config import ConfigFile

DOCKER_HUB_CONFIGFILE_KEY = "https://index.docker.io/v1/"
DOCKER_HUB_REGISTRY_HOST = "registry-1.docker.io"

ExpireCachedAuthCheck = Callable[[float, str], bool]
"""Whether credentials that were looked up at a time (seconds, `time.time()`) for a host must be looked up again."""

AuthConfigProvider = Callable[[Context, str, Sequence[str], ExpireCachedAuthCheck | None], Awaitable[AuthConfig]]
"""Looks up the credentials for a host and scopes."""


class _Provider:
    def __init__(self, config: ConfigFile, limit: float | None) -> None:
        self._config = config
        self._limit = limit
        self._cache: dict[str, tuple[float, AuthConfig]] = {}
        self._lock = asyncio.Lock()

    async def load(
        self, ctx: Context, host: str, scopes: Sequence[str], expired: ExpireCachedAuthCheck | None
    ) -> AuthConfig:
        from pybuildkit.golang import threads
        from pybuildkit.third_party.docker_config import HelperCall

        async with self._lock:
            cached = self._cache.get(host)
            if cached is not None and not (expired is not None and expired(cached[0], host)):
                return cached[1]
            key = DOCKER_HUB_CONFIGFILE_KEY if host == DOCKER_HUB_REGISTRY_HOST else host
            call = HelperCall() if self._limit is None else HelperCall(self._limit)
            found = await threads.call(ctx, lambda: self._config.get_auth_config(key, call), interrupt=call.interrupt)
            self._cache[host] = (time.time(), found)
            return found


def load_auth_config(config: ConfigFile, *, helper_limit: float | None = None) -> AuthConfigProvider:
    """Looks up credentials in a configuration, and remembers them for as long as the check allows.

    Args:
        config: Docker's configuration.
        helper_limit: seconds that a credential helper may take; default: the usual limit.
    """
    return _Provider(config, helper_limit).load
