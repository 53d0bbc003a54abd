"""The configuration of an image, from its registry over HTTP. Blocks.

GET the manifest; where it is an index, GET the manifest of the platform; GET the configuration. Every blob's digest
is checked. A registry that answers 401 says where a token for reading is to be had; it is asked for without
credentials.

Mirrors what util/imageutil/config.go, v0.32.2, does through containerd's docker resolver. Differs: no retries, no
mirrors; an answer of more than 8 MiB is refused.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Final

from pybuildkit.golang.errors import BuildkitError
from pybuildkit.third_party.containerd.remotes.docker import (
    HTTPClient,
    fetch_token,
    generate_token_options,
    parse_auth_header,
)
from pybuildkit.third_party.distribution import reference
from pybuildkit.third_party.platforms import Platform, normalize

if TYPE_CHECKING:
    import urllib3

_LIMIT: Final = 8 << 20
_TIMEOUT: Final = 30.0
_INDEXES: Final = (
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.oci.image.index.v1+json",
)
_MANIFESTS: Final = (
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.oci.image.manifest.v1+json",
)
_ACCEPT: Final = ", ".join((*_INDEXES, *_MANIFESTS, "*/*"))
_ARM: Final = ("v8", "v7", "v6", "v5")


class RegistryError(BuildkitError):
    """A registry refuses, has no such image, or answers nonsense."""


def image_config(ref: str, platform: Platform) -> tuple[str, bytes]:
    """The digest of the image (of its index, where it has one), and the configuration for the platform as JSON.

    Raises:
        RegistryError: see there.
    """
    named = reference.tag_name_only(reference.parse_normalized_named(ref))
    registry = _Registry(named)
    document = registry.manifest(named.digest or named.tag)
    digest = named.digest or _digest(document)
    manifest = _object(document, ref)
    if "manifests" in manifest:
        chosen = choose(manifest["manifests"], platform)
        if chosen is None:
            raise RegistryError(f"no match for platform in manifest: {ref}: not found")
        manifest = _object(registry.manifest(chosen), ref)
    config = manifest.get("config")
    if not isinstance(config, dict) or not isinstance(config.get("digest"), str):
        raise RegistryError(f"{ref}: the manifest names no configuration")
    return digest, registry.blob(config["digest"])


def choose(manifests: object, platform: Platform) -> str | None:
    """The digest of the manifest that fits the platform best, or None."""
    best: tuple[int, str] | None = None
    wanted = _candidates(normalize(platform))
    for entry in manifests if isinstance(manifests, list) else ():
        if not isinstance(entry, dict) or not isinstance(entry.get("digest"), str):
            continue
        named = entry.get("platform") or {}
        offered = normalize(
            Platform(
                os=str(named.get("os") or ""),
                architecture=str(named.get("architecture") or ""),
                variant=str(named.get("variant") or ""),
            )
        )
        key = (offered.os, offered.architecture, offered.variant)
        if key in wanted and (best is None or wanted.index(key) < best[0]):
            best = (wanted.index(key), entry["digest"])
    return best[1] if best is not None else None


def _candidates(platform: Platform) -> list[tuple[str, str, str]]:
    """What a machine of the platform can run, the best first."""
    os, architecture, variant = platform.os, platform.architecture, platform.variant
    if architecture == "arm" and variant in _ARM:
        return [(os, "arm", each) for each in _ARM[_ARM.index(variant) :]]
    found = [(os, architecture, variant)]
    if architecture == "amd64":
        levels = range(int(variant[1:]) - 1, 0, -1) if variant[1:].isdigit() else range(0)
        found += [(os, "amd64", "" if level == 1 else f"v{level}") for level in levels]
        found.append((os, "386", ""))
    if architecture == "arm64":
        found += [(os, "arm", each) for each in _ARM]
    return found


class _Registry:
    """One repository of a registry."""

    def __init__(self, named: reference.Reference) -> None:
        import urllib3

        self._host = "registry-1.docker.io" if named.domain == "docker.io" else named.domain
        scheme = "http" if self._host.partition(":")[0] in ("localhost", "127.0.0.1") else "https"
        self._base = f"{scheme}://{self._host}/v2/{named.path}"
        self._name = str(named)
        self._token = ""
        self._pool: urllib3.PoolManager = urllib3.PoolManager(timeout=urllib3.Timeout(_TIMEOUT), retries=False)

    def manifest(self, target: str) -> bytes:
        """A manifest or index by tag or digest."""
        return self._checked(self._get(f"/manifests/{target}", _ACCEPT), target)

    def blob(self, digest: str) -> bytes:
        """A blob."""
        return self._checked(self._get(f"/blobs/{digest}", "*/*"), digest)

    def _checked(self, data: bytes, target: str) -> bytes:
        if ":" in target and _digest(data) != target:
            raise RegistryError(f"{self._name}: {self._host} sent something else than {target}")
        return data

    def _get(self, path: str, accept: str) -> bytes:
        response = self._request(self._base + path, accept, self._token)
        if response.status == 401 and not self._token:
            self._authorize(response)
            response = self._request(self._base + path, accept, self._token)
        location = response.headers.get("Location")
        if response.status in (301, 302, 303, 307, 308) and location:
            response = self._request(location, accept, "")
        if response.status == 404:
            raise RegistryError(f"{self._name}: not found")
        if response.status != 200:
            raise RegistryError(
                f"unexpected status from GET request to {self._base}{path}: {response.status} {response.reason or ''}"
            )
        data = response.read(_LIMIT + 1)
        if len(data) > _LIMIT:
            raise RegistryError(f"{self._name}: an answer of more than {_LIMIT} bytes")
        return data

    def _request(self, url: str, accept: str, token: str) -> urllib3.BaseHTTPResponse:
        import urllib3

        headers = {"Accept": accept, "User-Agent": "pybuildkit"}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        try:
            return self._pool.request("GET", url, headers=headers, preload_content=False, redirect=False)
        except urllib3.exceptions.HTTPError as err:
            raise RegistryError(f"failed to do request: Get {url}: {err}") from err

    def _authorize(self, response: urllib3.BaseHTTPResponse) -> None:
        for challenge in parse_auth_header(response.headers.getlist("WWW-Authenticate")):
            if challenge.scheme == "bearer":
                self._token = fetch_token(HTTPClient(), generate_token_options("", "", challenge)).token
                return
        raise RegistryError(f"{self._name}: {self._host} wants credentials")


def _digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def _object(data: bytes, ref: str) -> dict[str, object]:
    try:
        value = json.loads(data)
    except ValueError as err:
        raise RegistryError(f"{ref}: the manifest is no JSON: {err}") from err
    if not isinstance(value, dict):
        raise RegistryError(f"{ref}: the manifest is no JSON object")
    return value
