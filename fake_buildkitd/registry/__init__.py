"""Registries: images taken from there and put there, logged in over a client's session."""

from fake_buildkitd.registry._auth import Authorizer
from fake_buildkitd.registry._client import ImageNotFoundError
from fake_buildkitd.registry._remote import RemoteImage
from fake_buildkitd.registry._request import RequestError, StatusError

__all__ = ["Authorizer", "ImageNotFoundError", "RemoteImage", "RequestError", "StatusError"]
