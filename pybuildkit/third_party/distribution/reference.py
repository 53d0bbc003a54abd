"""Image references: `domain/path:tag@digest`, in Docker's short form and in full.

Mirrors github.com/distribution/reference, v0.6.0.

The short form leaves out `docker.io`, `library/` and `:latest`; `parse_normalized_named` fills in the first two,
`tag_name_only` the third.
"""

from __future__ import annotations

import re

from pybuildkit.golang.errors import BuildkitError
from pybuildkit.third_party.opencontainers import digest as _digest

DEFAULT_DOMAIN = "docker.io"
DEFAULT_TAG = "latest"
_LEGACY_DOMAIN = "index.docker.io"
_OFFICIAL_PREFIX = "library/"
_NAME_MAX = 255

_COMPONENT = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_DOMAIN = rf"(?:{_COMPONENT}(?:\.{_COMPONENT})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?"
_PATH_COMPONENT = r"[a-z0-9]+(?:(?:[._]|__|[-]+)[a-z0-9]+)*"
_REMOTE = rf"{_PATH_COMPONENT}(?:/{_PATH_COMPONENT})*"
_TAG = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}"
_DIGEST = r"[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}"

_NAME_RE = re.compile(rf"(?:({_DOMAIN})/)?({_REMOTE})")
_REFERENCE_RE = re.compile(rf"((?:{_DOMAIN}/)?{_REMOTE})(?::({_TAG}))?(?:@({_DIGEST}))?")
_IDENTIFIER_RE = re.compile(r"[a-f0-9]{64}")
_TAG_RE = re.compile(_TAG)


class ReferenceError(BuildkitError):
    """A text that is no image reference."""


class Reference:
    """A reference; `tag` and `digest` are "" where it has none."""

    __slots__ = ("digest", "domain", "path", "tag")

    def __init__(self, domain: str, path: str, tag: str = "", digest: str = "") -> None:
        self.domain = domain
        self.path = path
        self.tag = tag
        self.digest = digest

    def name(self) -> str:
        """Domain and path."""
        return f"{self.domain}/{self.path}" if self.domain else self.path

    def is_name_only(self) -> bool:
        """Whether neither a tag nor a digest says which image is meant."""
        return not self.tag and not self.digest

    def familiar(self) -> Reference:
        """The reference in Docker's short form."""
        domain, path = self.domain, self.path
        if domain == DEFAULT_DOMAIN:
            domain = ""
            short = path.removeprefix(_OFFICIAL_PREFIX)
            if "/" not in short:
                path = short
        return Reference(domain, path, self.tag, self.digest)

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        digest = f"@{self.digest}" if self.digest else ""
        return self.name() + tag + digest

    def __repr__(self) -> str:
        return f"Reference({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Reference) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash(str(self))


def parse(text: str) -> Reference:
    """A reference as it is written, with nothing filled in.

    Raises:
        ReferenceError: the form is wrong, or the name too long.
        DigestError: the digest is wrong.
    """
    match = _REFERENCE_RE.fullmatch(text)
    if match is None:
        if not text:
            raise ReferenceError("repository name must have at least one component")
        if _REFERENCE_RE.fullmatch(text.lower()):
            raise ReferenceError("repository name must be lowercase")
        raise ReferenceError("invalid reference format")
    name = _NAME_RE.fullmatch(match[1])
    domain, path = (name[1] or "", name[2]) if name is not None else ("", match[1])
    if len(path) > _NAME_MAX:
        raise ReferenceError(f"repository name must not be more than {_NAME_MAX} characters")
    digest = _digest.parse(match[3]) if match[3] else ""
    return Reference(domain, path, match[2] or "", digest)


def parse_normalized_named(text: str) -> Reference:
    """A reference in the short form, with domain and `library/` filled in.

    Raises:
        ReferenceError, DigestError: as `parse`; a bare identifier of 64 hexadecimal digits is refused too.
    """
    if _IDENTIFIER_RE.fullmatch(text):
        raise ReferenceError(f"invalid repository name ({text}), cannot specify 64-byte hexadecimal strings")
    domain, rest = _split_domain(text)
    remote = rest.partition(":")[0]
    if remote.lower() != remote:
        raise ReferenceError(f"invalid reference format: repository name ({remote}) must be lowercase")
    return parse(f"{domain}/{rest}")


def _split_domain(text: str) -> tuple[str, str]:
    first, slash, rest = text.partition("/")
    if not slash:
        return DEFAULT_DOMAIN, _OFFICIAL_PREFIX + text
    if first == _LEGACY_DOMAIN:
        domain = DEFAULT_DOMAIN
    elif first == "localhost" or "." in first or ":" in first or first.lower() != first:
        domain = first
    else:
        domain, rest = DEFAULT_DOMAIN, text
    if domain == DEFAULT_DOMAIN and "/" not in rest:
        rest = _OFFICIAL_PREFIX + rest
    return domain, rest


def tag_name_only(ref: Reference) -> Reference:
    """The reference, with `latest` where it has neither tag nor digest."""
    return with_tag(ref, DEFAULT_TAG) if ref.is_name_only() else ref


def with_tag(ref: Reference, tag: str) -> Reference:
    """The reference with another tag.

    Raises:
        ReferenceError: "invalid tag format".
    """
    if not _TAG_RE.fullmatch(tag):
        raise ReferenceError("invalid tag format")
    return Reference(ref.domain, ref.path, tag, ref.digest)


def with_digest(ref: Reference, digest: str) -> Reference:
    """The reference with another digest.

    Raises:
        ReferenceError: "invalid digest format".
    """
    if not re.fullmatch(_DIGEST, digest):
        raise ReferenceError("invalid digest format")
    return Reference(ref.domain, ref.path, ref.tag, digest)


def parse_docker_ref(text: str) -> Reference:
    """`parse_normalized_named`, with `latest` filled in, and without the tag where there is a digest too."""
    ref = parse_normalized_named(text)
    return Reference(ref.domain, ref.path, "", ref.digest) if ref.tag and ref.digest else tag_name_only(ref)
