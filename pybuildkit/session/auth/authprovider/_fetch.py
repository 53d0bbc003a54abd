"""Fetching one token: which request, which to try next, and what to say of a failure. Blocks.

Mirrors FetchToken of session/auth/authprovider/authprovider.go and util/errutil, v0.32.2.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING
from urllib.parse import quote, quote_plus, urlsplit

from pybuildkit.golang.errors import BuildkitError
from pybuildkit.golang.jsontypes import STRING, Errors, Kind, List, Struct, convert, text
from pybuildkit.third_party.containerd.remotes.docker import (
    HTTPClient,
    Token,
    TokenError,
    TokenOptions,
    UnexpectedStatusError,
    fetch_token,
    fetch_token_with_oauth,
)

if TYPE_CHECKING:
    from pybuildkit.session.auth.authprovider._authconfig import AuthTLSConfig

_CLIENT_ID = "buildkit-client"
_MAX_SHOWN = 256
_CODES = {
    "UNKNOWN": "unknown error",
    "UNSUPPORTED": "The operation is unsupported.",
    "UNAUTHORIZED": "authentication required",
    "DENIED": "requested access to the resource is denied",
    "UNAVAILABLE": "service unavailable",
    "TOOMANYREQUESTS": "too many requests",
}
"""The codes of a registry's errors, and the messages that say no more than they do."""


class _Anything(Kind):
    """A value as it is."""

    go_type = "interface {}"

    def read(self, value: object, errors: Errors) -> object:
        return value


_ERROR = Struct("docker.Error", (("code", STRING, True), ("message", STRING, True), ("detail", _Anything(), False)))
_ERRORS = Struct("docker.Errors", (("errors", List(_ERROR), True),))
_DETAILS = Struct("errDetails", (("details", STRING, True),))


class TokenServerError(BuildkitError):
    """The authorization server refused, with what it said."""


def realm_host(realm: str) -> str:
    """The host of an authorization server's URL, without any user name."""
    try:
        return urlsplit(realm).netloc.rpartition("@")[2]
    except ValueError:
        return "an invalid realm"


def fetch(options: TokenOptions, tls: AuthTLSConfig | None) -> Token:
    """A token: by POST with credentials (by GET where the server has no POST), by GET without.

    Raises:
        TokenServerError: the server refused. BuildkitError: any other failure.
    """
    client = HTTPClient(tls.ssl_context() if tls is not None else None)
    try:
        if not options.secret:
            return fetch_token(client, options)
        try:
            return fetch_token_with_oauth(client, _CLIENT_ID, options)
        except UnexpectedStatusError as err:
            if not _has_no_post(err.status_code, options):
                raise
        return fetch_token(client, options)
    except UnexpectedStatusError as err:
        # before the answer is shortened, which may cut a secret in two
        body = _without(err.body.decode("utf-8", "surrogateescape"), options)
        err.body = body.encode("utf-8", "surrogateescape")
        text = _details(err) if options.secret else str(err)
        raise TokenServerError(_without(text, options)) from None
    except TokenError as err:
        raise TokenError(_without(str(err), options)) from None


def _has_no_post(status: int, options: TokenOptions) -> bool:
    """Whether a server that answers a POST so may still take a GET."""
    return (status == 405 and bool(options.username)) or status in (404, 401)


def _without(text: str, options: TokenOptions) -> str:
    """The text without the secret, which an answer might quote, in any of the forms in which it was sent."""
    if not options.secret:
        return text
    login = f"{options.username}:{options.secret}".encode("utf-8", "surrogateescape")
    forms = {
        base64.b64encode(login).decode(),
        json.dumps(options.secret)[1:-1],
        quote(options.secret, safe="", errors="surrogateescape"),
        quote_plus(options.secret, errors="surrogateescape"),
        repr(options.secret)[1:-1],
        options.secret,
    }
    for form in sorted(forms, key=len, reverse=True):
        text = text.replace(form, "…")
    return text


def _details(err: UnexpectedStatusError) -> str:
    """What the server said, where it is a registry's list of errors or a short text."""
    from pybuildkit.golang import json

    body = err.body.decode("utf-8", "replace")
    try:
        document = json.unmarshal(body)
    except json.SyntaxError:
        document = ""
    errors, malformed = convert(_ERRORS, document)
    entries = errors.get("errors")
    if malformed is None and isinstance(entries, list):
        shown = [_entry(entry) for entry in entries]
        return shown[0] if len(shown) == 1 else "errors:\n" + "".join(f"{line}\n" for line in shown)
    details, _ = convert(_DETAILS, document)
    if details:
        return f"{err}: {text(details, 'details')}"
    if not body:
        return str(err)
    if len(err.body) > _MAX_SHOWN:
        kept = err.body[:_MAX_SHOWN].decode("utf-8", "replace")
        body = f"{kept}... ({len(err.body) - _MAX_SHOWN} bytes truncated)"
    return f"{err}: {body}"


def _entry(entry: Mapping[str, object]) -> str:
    given, message, detail = text(entry, "code"), text(entry, "message"), entry.get("detail")
    code = given if given in _CODES else "UNKNOWN"
    shown = code.lower()
    if detail is None and message in ("", _CODES[code]):
        return shown
    shown = f"{shown}: {message}"
    return f"{shown} - {detail}" if isinstance(detail, str) and detail else shown
