"""Fetching a token.

Mirrors core/remotes/docker/auth/fetch.go of github.com/containerd/containerd, v2.3.3, and the texts of
core/remotes/errors.

    with credentials      POST to the realm: grant_type=password, or refresh_token where there is no user name
    GET                   service and scopes in the query, credentials as Basic; anonymous without any

No text holds a user name, a password or a token.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote_plus, urlencode

from pybuildkit.golang.errors import BuildkitError
from pybuildkit.golang.jsontypes import STRING, Int, Struct, Time, convert, text
from pybuildkit.golang.time import SECOND, ZERO
from pybuildkit.third_party.containerd.remotes.docker._http import HTTPRequestError

if TYPE_CHECKING:
    from pybuildkit.third_party.containerd.remotes.docker._challenge import Challenge
    from pybuildkit.third_party.containerd.remotes.docker._http import HTTPClient, Response

USER_AGENT = "pybuildkit"


_COMMON = (
    ("access_token", STRING, True),
    ("refresh_token", STRING, True),
    ("expires_in", Int("int"), False),
    ("issued_at", Time(), False),
)
_OAUTH = Struct("auth.OAuthTokenResponse", (*_COMMON, ("scope", STRING, True)))
_FETCH = Struct("auth.FetchTokenResponse", (("token", STRING, True), *_COMMON))


class TokenError(BuildkitError):
    """The authorization server's answer holds no token."""


class UnexpectedStatusError(BuildkitError):
    """The authorization server answered with an error.

    Attributes:
        status_code: the HTTP status.
        body: the beginning of the answer's body.
    """

    def __init__(self, response: Response) -> None:
        status = f"{response.status} {response.reason}"
        super().__init__(f"unexpected status from {response.method} request to {response.url}: {status}")
        self.status_code = response.status
        self.body = response.body[:64000]


@dataclass(frozen=True, kw_only=True, repr=False)
class TokenOptions:
    """What to ask for, and as whom.

    Attributes:
        realm: the authorization server's URL.
        service: the registry's name for itself.
        scopes: what the token shall be good for, such as "repository:library/alpine:pull".
        username, secret: the credentials; a secret without a user name is an identity token.
    """

    realm: str
    service: str = ""
    scopes: Sequence[str] = ()
    username: str = ""
    secret: str = ""


@dataclass(frozen=True, kw_only=True, repr=False)
class Token:
    """A token; seconds that it lasts (0: not told), when it was made (seconds since the epoch, or None)."""

    token: str
    expires_in: int = 0
    issued_at: int | None = None
    refresh_token: str = ""


def generate_token_options(username: str, secret: str, challenge: Challenge) -> TokenOptions:
    """What a registry's challenge says to ask for; raises TokenError where it names no realm."""
    if "realm" not in challenge.parameters:
        raise TokenError("no realm specified for token auth challenge")
    scope = challenge.parameters.get("scope")
    return TokenOptions(
        realm=challenge.parameters["realm"],
        service=challenge.parameters.get("service", ""),
        scopes=scope.split(" ") if scope is not None else (),
        username=username,
        secret=secret,
    )


def fetch_token_with_oauth(client: HTTPClient, client_id: str, options: TokenOptions) -> Token:
    """Fetch a token with a POST; blocks.

    Raises:
        UnexpectedStatusError, TokenError; InsecureRealmError, HTTPRequestError as `HTTPClient.request`.
    """
    form = {"service": options.service, "client_id": client_id}
    if options.scopes:
        form["scope"] = " ".join(options.scopes)
    if options.username:
        form |= {"grant_type": "password", "username": options.username, "password": options.secret}
    else:
        form |= {"grant_type": "refresh_token", "refresh_token": options.secret}
    headers = {
        "Content-Type": "application/x-www-form-urlencoded; charset=utf-8",
        "User-Agent": USER_AGENT,
    }
    body = urlencode(sorted(form.items()), quote_via=quote_plus, errors="surrogateescape").encode()
    response = client.request("POST", options.realm, headers=headers, body=body, secret=True)
    return _token(_answer(response, _OAUTH), ("access_token",))


def fetch_token(client: HTTPClient, options: TokenOptions) -> Token:
    """Fetch a token with a GET, anonymously where there is no secret; blocks.

    Raises:
        UnexpectedStatusError, TokenError; InsecureRealmError, HTTPRequestError as `HTTPClient.request`.
    """
    headers = {"User-Agent": USER_AGENT}
    if options.secret:
        login = f"{options.username}:{options.secret}".encode("utf-8", "surrogateescape")
        headers["Authorization"] = f"Basic {base64.b64encode(login).decode()}"
    url = _with_query(options)
    response = client.request("GET", url, headers=headers, secret=bool(options.secret))
    return _token(_answer(response, _FETCH), ("access_token", "token"))


def _with_query(options: TokenOptions) -> str:
    from pybuildkit.golang.url import URLError, parse, query_escape

    try:
        query = parse(options.realm).query()
    except URLError as err:
        raise HTTPRequestError(str(err)) from None
    if options.service:
        query.setdefault("service", []).append(options.service)
    if options.scopes:
        query.setdefault("scope", []).extend(options.scopes)
    pairs = [f"{query_escape(name)}={query_escape(value)}" for name in sorted(query) for value in query[name]]
    bare = options.realm.partition("#")[0].partition("?")[0]
    return f"{bare}?{'&'.join(pairs)}" if pairs else bare


def _answer(response: Response, kind: Struct) -> Mapping[str, object]:
    """The members of the answer; raises TokenError "unable to decode token response: …"."""
    from pybuildkit.golang import json

    if not 200 <= response.status < 400:
        raise UnexpectedStatusError(response)
    try:
        found, error = convert(kind, json.decode(response.body))
    except json.SyntaxError as err:
        raise TokenError(f"unable to decode token response: {err}") from None
    if error is not None:
        raise TokenError(f"unable to decode token response: {error}") from None
    return found


def _token(answer: Mapping[str, object], names: Sequence[str]) -> Token:
    token = next((found for name in names if (found := text(answer, name))), "")
    if not token:
        raise TokenError("authorization server did not include a token in the response")
    expires, issued = answer["expires_in"], answer["issued_at"]
    assert isinstance(expires, int)
    assert isinstance(issued, int)
    return Token(
        token=token,
        expires_in=expires,
        issued_at=issued // SECOND if issued != ZERO else None,
        refresh_token=text(answer, "refresh_token"),
    )
