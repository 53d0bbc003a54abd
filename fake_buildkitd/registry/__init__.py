"""Registries: images taken from there and put there, logged in over a client's session."""

from fake_buildkitd.registry._auth import Authorizer
from fake_buildkitd.registry._client import ImageNotFoundError, RequestError, StatusError
from fake_buildkitd.registry._remote import RemoteImage

__all__ = ["Authorizer", "ImageNotFoundError", "RemoteImage", "RequestError", "StatusError"]
