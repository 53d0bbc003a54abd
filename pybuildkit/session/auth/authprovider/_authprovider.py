"""The auth service over credentials. Mirrors session/auth/authprovider/authprovider.go, v0.32.2.

Differs on purpose:
- `allow_hosts`, once it has an entry, keeps the credentials of all other hosts: their registries are asked
  anonymously, and each refusal is logged.
- Credentials go to an authorization server over TLS or on loopback only; its host is shown on the display.
- A host's TLS settings are for that host alone, and settings that cannot be loaded are an error.
- Looking up, fetching and signing happen in threads.
- No text of an error or of the log holds a secret, also where a server's answer quotes it.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import os
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pybuildkit.golang import threads
from pybuildkit.golang.errors import BuildkitError, wrap
from pybuildkit.rpc import Code, RpcError, Server
from pybuildkit.session.auth import _methods as methods
from pybuildkit.session.auth import auth_pb2 as pb
from pybuildkit.session.auth.authprovider._authconfigprovider import DOCKER_HUB_REGISTRY_HOST
from pybuildkit.third_party.docker_config import AuthConfig
from pybuildkit.util import bklog

if TYPE_CHECKING:
    from pybuildkit.client._graph import SolveStatus
    from pybuildkit.golang.context import Context
    from pybuildkit.session.auth.authprovider._authconfig import AuthTLSConfig
    from pybuildkit.session.auth.authprovider._authconfigprovider import AuthConfigProvider, ExpireCachedAuthCheck
    from pybuildkit.session.auth.authprovider._tokenseed import TokenSeeds

    Logger = Callable[[SolveStatus], None]
else:
    Logger = Callable
"""Takes what is to be shown on the display."""

_HUB_NAMES = frozenset((DOCKER_HUB_REGISTRY_HOST, "docker.io", "index.docker.io", "https://index.docker.io/v1/"))
_DEFAULT_EXPIRATION = 60
_CACHE_SECONDS = 4 * 60 + 50


def _expire_after_minutes(created: float, host: str) -> bool:
    """Some registries' tokens last five minutes."""
    return time.time() - created > _CACHE_SECONDS


@dataclass(frozen=True, kw_only=True)
class DockerAuthProviderConfig:
    """How to answer for registries.

    Attributes:
        auth_config_provider: looks up credentials; None: there are none.
        tls_configs: TLS settings for the authorization servers, by the registry's host.
        expire_cached_auth: when credentials must be looked up again; default: after 4 minutes and 50 seconds.
        allow_hosts: registries whose credentials may be used; empty: all.
        seed_folder: where the token seeds are; default: Docker's configuration folder.
    """

    auth_config_provider: AuthConfigProvider | None = None
    tls_configs: Mapping[str, AuthTLSConfig] = field(default_factory=dict)
    expire_cached_auth: ExpireCachedAuthCheck | None = None
    allow_hosts: Collection[str] = ()
    seed_folder: str = ""


def new_docker_auth_provider(config: DockerAuthProviderConfig) -> DockerAuthProvider:
    """The auth service: registry credentials and tokens, from Docker's configuration.

    Args:
        config: where credentials are looked up, and for whom. Nothing is read before a daemon asks.
    """
    return DockerAuthProvider(config)


class DockerAuthProvider:
    """The auth service; an Attachable. Made by `new_docker_auth_provider`."""

    def __init__(self, config: DockerAuthProviderConfig) -> None:
        self._config = config
        self._expired = config.expire_cached_auth or _expire_after_minutes
        self._allowed = {_canonical(host) for host in config.allow_hosts}
        self._logger: Logger | None = None
        self._logged: set[str] = set()
        self._lock = asyncio.Lock()
        self._seeds: TokenSeeds | None = None

    def set_logger(self, logger: Logger | None) -> None:
        """Show on a display whose credentials are used.

        Args:
            logger: takes vertexes of the kind "[auth] …"; None: nothing is shown.
        """
        self._logger = logger

    def register(self, server: Server) -> None:
        """Offer the service on a server."""
        server.add_unary(methods.CREDENTIALS, self.credentials)
        server.add_unary(methods.FETCH_TOKEN, self.fetch_token)
        server.add_unary(methods.GET_TOKEN_AUTHORITY, self.get_token_authority)
        server.add_unary(methods.VERIFY_TOKEN_AUTHORITY, self.verify_token_authority)

    async def credentials(self, ctx: Context, request: pb.CredentialsRequest) -> methods.Login:
        """The credentials for a registry; empty where there are none.

        Args:
            ctx: ends when the daemon gives up; a credential helper that is under way is then left to its time limit.
            request: the registry's host.

        Raises:
            BuildkitError: they cannot be looked up.
        """
        username, secret = _login(await self._auth_config(ctx, request.Host, ()))
        if secret and request.Host not in self._logged:
            self._logged.add(request.Host)
            await self._announce(f"[auth] sharing credentials for {request.Host}")
        return methods.Login(username, secret)

    async def fetch_token(self, ctx: Context, request: pb.FetchTokenRequest) -> pb.FetchTokenResponse:
        """Fetch a token from a registry's authorization server, with the credentials for the registry.

        Args:
            ctx: ends when the daemon gives up; an HTTP request that is under way is no longer waited for.
            request: the registry's host; the server's address, service and scopes.

        Raises:
            BuildkitError: "failed to fetch oauth token: …", "failed to fetch anonymous token: …", or the credentials
                cannot be looked up.
        """
        from pybuildkit.session.auth.authprovider import _fetch
        from pybuildkit.third_party.containerd.remotes.docker import TokenOptions

        config = await self._auth_config(ctx, request.Host, request.Scopes)
        if config.registry_token:
            return pb.FetchTokenResponse(Token=config.registry_token, ExpiresIn=_DEFAULT_EXPIRATION)
        username, secret = _login(config)
        options = TokenOptions(
            realm=request.Realm,
            service=request.Service,
            scopes=list(request.Scopes),
            username=username,
            secret=secret,
        )
        tls = self._config.tls_configs.get(request.Host)
        if secret:
            scopes = " ".join(scope.removeprefix("repository:") for scope in request.Scopes)
            realm = _fetch.realm_host(request.Realm)
            await self._announce(f"[auth] {scopes} token for {request.Host}", f"asking {realm}\n" if realm else "")
        text = "failed to fetch oauth token" if secret else "failed to fetch anonymous token"
        try:
            token = await threads.call(ctx, lambda: _fetch.fetch(options, tls))
        except BuildkitError as err:
            raise wrap(err, text) from err
        return pb.FetchTokenResponse(
            Token=token.token, ExpiresIn=token.expires_in or _DEFAULT_EXPIRATION, IssuedAt=token.issued_at or 0
        )

    async def get_token_authority(
        self, ctx: Context, request: pb.GetTokenAuthorityRequest
    ) -> pb.GetTokenAuthorityResponse:
        """The public key by which a daemon knows this client's tokens for a host.

        Args:
            ctx: ends when the daemon gives up; the token seed may have been written by then.
            request: the registry's host, and the daemon's salt.

        Raises:
            RpcError: Unavailable, where BUILDKIT_NO_CLIENT_TOKEN is true.
        """
        from pybuildkit.third_party import nacl_sign

        seed = await self._authority_key(ctx, request.Host, request.Salt)
        return pb.GetTokenAuthorityResponse(PublicKey=await threads.call(ctx, lambda: nacl_sign.public_key(seed)))

    async def verify_token_authority(
        self, ctx: Context, request: pb.VerifyTokenAuthorityRequest
    ) -> pb.VerifyTokenAuthorityResponse:
        """A daemon's payload, signed by the key of `get_token_authority`.

        Args:
            ctx: ends when the daemon gives up; nothing is left behind.
            request: the registry's host, the daemon's salt, and what to sign.

        Raises:
            BuildkitError: the credentials cannot be looked up, or the token seed cannot be read.
        """
        from pybuildkit.third_party import nacl_sign

        seed = await self._authority_key(ctx, request.Host, request.Salt)
        signed = await threads.call(ctx, lambda: nacl_sign.sign(request.Payload, seed))
        return pb.VerifyTokenAuthorityResponse(Signed=signed)

    async def _authority_key(self, ctx: Context, host: str, salt: bytes) -> bytes:
        """The seed of the private key for a host and a daemon."""
        from pybuildkit.golang.strconv import NumError, parse_bool

        try:
            disabled = parse_bool(os.environ.get("BUILDKIT_NO_CLIENT_TOKEN", ""))
        except NumError:
            disabled = False
        if disabled:
            raise RpcError(Code.UNAVAILABLE, "client side tokens disabled")
        _, secret = _login(await self._auth_config(ctx, host, ()))
        seeds = self._token_seeds()
        seed = await threads.call(ctx, lambda: seeds.get_seed(host))
        # without credentials every client may share the daemon's tokens
        return hmac.new(salt, seed if secret else b"", hashlib.sha256).digest()

    def _token_seeds(self) -> TokenSeeds:
        if self._seeds is None:
            from pybuildkit.session.auth.authprovider._tokenseed import TokenSeeds
            from pybuildkit.third_party.docker_config import config_dir

            self._seeds = TokenSeeds(self._config.seed_folder or config_dir())
        return self._seeds

    async def _auth_config(self, ctx: Context, host: str, scopes: Sequence[str]) -> AuthConfig:
        if self._allowed and _canonical(host) not in self._allowed:
            await self._log_refusal(host)
            return AuthConfig()
        if self._config.auth_config_provider is None:
            return AuthConfig()
        # one at a time: keychains have been seen to hang when asked twice at once
        async with self._lock:
            return await self._config.auth_config_provider(ctx, host, list(scopes), self._expired)

    async def _log_refusal(self, host: str) -> None:
        text = f"refusing credentials for {host}: not allowed by --registry-auth-allow"
        if text not in self._logged:
            self._logged.add(text)
            bklog.L.warning(text)
            await self._announce(f"[auth] {text}")

    async def _announce(self, name: str, log: str = "") -> None:
        """Show a step that is done on the display, with some output."""
        if self._logger is None:
            return
        from pybuildkit.util.progress import progresswriter

        async def show(sub: progresswriter.SubLogger) -> None:
            if log:
                sub.log(1, log.encode())

        await progresswriter.wrap(name, self._logger, show)


def _canonical(host: str) -> str:
    return DOCKER_HUB_REGISTRY_HOST if host in _HUB_NAMES else host


def _login(config: AuthConfig) -> tuple[str, str]:
    """The user name and the secret; an identity token is a secret without user name."""
    if config.identity_token:
        return "", config.identity_token
    return config.username, config.password
