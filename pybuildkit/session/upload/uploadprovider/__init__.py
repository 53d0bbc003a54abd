"""The client's end of uploads. Mirrors session/upload/uploadprovider of BuildKit, v0.32.2."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pybuildkit._lazy import attach

if TYPE_CHECKING:
    from pybuildkit.session.upload.uploadprovider._provider import AsyncReader, Reader, Uploader, new

_EXPORTS = {"AsyncReader": "_provider", "Reader": "_provider", "Uploader": "_provider", "new": "_provider"}

__all__ = ["AsyncReader", "Reader", "Uploader", "new"]

__getattr__, _ = attach(__name__, _EXPORTS)
