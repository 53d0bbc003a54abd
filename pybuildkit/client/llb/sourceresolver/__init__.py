"""Asking for what is known of a source without fetching it.

Mirrors package client/llb/sourceresolver, v0.32.2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pybuildkit._lazy import attach

if TYPE_CHECKING:
    from pybuildkit.client.llb.sourceresolver._imageresolver import (
        ImageMetaResolver,
        ResolveToNonImageError,
        new_image_meta_resolver,
    )
    from pybuildkit.client.llb.sourceresolver._types import (
        AttestationChain,
        Blob,
        Descriptor,
        MetaResolver,
        MetaResponse,
        Opt,
        ResolveGitOpt,
        ResolveGitResponse,
        ResolveHTTPChecksumAlgo,
        ResolveHTTPChecksumRequest,
        ResolveHTTPChecksumResponse,
        ResolveHTTPOpt,
        ResolveHTTPResponse,
        ResolveImageConfigOptStore,
        ResolveImageOpt,
        ResolveImageResponse,
        ResolveOCILayoutOpt,
        ResolverType,
    )

__all__ = [
    "AttestationChain",
    "Blob",
    "Descriptor",
    "ImageMetaResolver",
    "MetaResolver",
    "MetaResponse",
    "Opt",
    "ResolveGitOpt",
    "ResolveGitResponse",
    "ResolveHTTPChecksumAlgo",
    "ResolveHTTPChecksumRequest",
    "ResolveHTTPChecksumResponse",
    "ResolveHTTPOpt",
    "ResolveHTTPResponse",
    "ResolveImageConfigOptStore",
    "ResolveImageOpt",
    "ResolveImageResponse",
    "ResolveOCILayoutOpt",
    "ResolveToNonImageError",
    "ResolverType",
    "new_image_meta_resolver",
]

_IMAGE = ("ImageMetaResolver", "ResolveToNonImageError", "new_image_meta_resolver")
__getattr__, _ = attach(__name__, {name: "_imageresolver" if name in _IMAGE else "_types" for name in __all__})
