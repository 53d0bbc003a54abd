"""Questions about sources, asked of the daemon.

Mirrors ResolveSourceMetadata and ResolveImageConfig of frontend/gateway/grpcclient/client.go, v0.32.2. Daemons without
ResolveSourceMeta are asked for image configurations instead, and for nothing else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pybuildkit.client.llb import sourceresolver
from pybuildkit.frontend.gateway.grpcclient._reference import supported
from pybuildkit.frontend.gateway.pb import _caps as caps
from pybuildkit.frontend.gateway.pb import _methods as methods
from pybuildkit.frontend.gateway.pb import gateway_pb2 as pb
from pybuildkit.golang import errors
from pybuildkit.golang.errors import BuildkitError
from pybuildkit.golang.strconv import quote
from pybuildkit.solver.pb import ATTR_OCI_LAYOUT_SESSION_ID, ATTR_OCI_LAYOUT_STORE_ID, ops_pb2
from pybuildkit.third_party.containerd.content import check_digest

if TYPE_CHECKING:
    from pybuildkit.client.llb.sourceresolver import MetaResponse, Opt
    from pybuildkit.frontend.gateway.grpcclient._client import Conn
    from pybuildkit.golang.context import Context
    from pybuildkit.util.apicaps import CapSet

_IMAGE = "docker-image://"
_OCI_LAYOUT = "oci-layout://"


async def resolve_source_metadata(
    conn: Conn, cap_set: CapSet, ctx: Context, op: ops_pb2.SourceOp, opt: Opt
) -> MetaResponse:
    """What the daemon can tell about a source.

    Raises:
        CapError, BuildkitError: when the daemon cannot answer such a question, or the daemon's error.
    """
    image = opt.image_opt
    wants_attestations = image is not None and (image.attestation_chain or bool(image.resolve_attestations))
    wants_checksum = opt.http_opt is not None and opt.http_opt.checksum_req is not None
    if not supported(cap_set, caps.CAP_SOURCE_META_RESOLVER):
        return await _resolve_on_old_daemon(conn, cap_set, ctx, op, opt, wants_attestations, wants_checksum)
    if wants_attestations:
        _need(
            cap_set,
            caps.CAP_SOURCE_META_RESOLVER_IMAGE_ATTESTATIONS,
            "image attestation resolution requires additional source metadata resolver support",
        )
    if wants_checksum:
        _need(
            cap_set,
            caps.CAP_SOURCE_META_RESOLVER_HTTP_CHECKSUM_REQUEST,
            "http checksum request requires additional source metadata resolver support",
        )
    response = await conn.unary(ctx, methods.RESOLVE_SOURCE_META, _request(op, opt))
    result = _response(response)
    if wants_checksum and (result.http is None or result.http.checksum_response is None):
        raise BuildkitError("http checksum request was sent but response did not include checksum response")
    return result


def _need(cap_set: CapSet, id: str, text: str) -> None:
    try:
        cap_set.supports(id)
    except BuildkitError as err:
        raise errors.wrap(err, text) from err


async def _resolve_on_old_daemon(
    conn: Conn,
    cap_set: CapSet,
    ctx: Context,
    op: ops_pb2.SourceOp,
    opt: Opt,
    wants_attestations: bool,
    wants_checksum: bool,
) -> MetaResponse:
    if wants_attestations:
        raise BuildkitError("image attestation resolution requires source metadata resolver support")
    for scheme in (_IMAGE, _OCI_LAYOUT):
        if op.identifier.startswith(scheme):
            found = await resolve_image_config(conn, cap_set, ctx, op.identifier.removeprefix(scheme), opt)
            ref, digest, config = found
            op.identifier = scheme + ref
            answer = sourceresolver.ResolveImageResponse(digest=digest, config=config)
            return sourceresolver.MetaResponse(op=op, image=answer)
    if wants_checksum:
        raise BuildkitError("http checksum request requires source metadata resolver support")
    return sourceresolver.MetaResponse(op=op)


def _platform(opt: Opt) -> ops_pb2.Platform | None:
    platform = opt.image_opt.platform if opt.image_opt is not None else None
    if platform is None and opt.oci_layout_opt is not None:
        platform = opt.oci_layout_opt.platform
    if platform is None:
        return None
    return ops_pb2.Platform(
        OS=platform.os,
        Architecture=platform.architecture,
        Variant=platform.variant,
        OSVersion=platform.os_version,
        OSFeatures=platform.os_features,
    )


def _request(op: ops_pb2.SourceOp, opt: Opt) -> pb.ResolveSourceMetaRequest:
    request = pb.ResolveSourceMetaRequest(
        Source=op, Platform=_platform(opt), LogName=opt.log_name, SourcePolicies=opt.source_policies
    )
    image = opt.image_opt
    if image is not None:
        request.ResolveMode = image.resolve_mode
        request.Image.NoConfig = image.no_config
        request.Image.AttestationChain = image.attestation_chain or bool(image.resolve_attestations)
        request.Image.ResolveAttestations.extend(image.resolve_attestations)
        request.Image.SetInParent()
    if opt.git_opt is not None:
        request.Git.ReturnObject = opt.git_opt.return_object
        request.Git.SetInParent()
    if opt.http_opt is not None and opt.http_opt.checksum_req is not None:
        checksum = opt.http_opt.checksum_req
        request.HTTP.ChecksumRequest.Suffix = checksum.suffix
        request.HTTP.ChecksumRequest.Algo = pb.ChecksumRequest.ChecksumAlgo.Name(checksum.algo)  # type: ignore[assignment,arg-type]  # numbers and names of the enum are the same values
        request.HTTP.ChecksumRequest.SetInParent()
    return request


def _response(response: pb.ResolveSourceMetaResponse) -> MetaResponse:
    image = git = http = None
    if response.HasField("Image"):
        image = _image(response.Image)
    if response.HasField("Git"):
        git = sourceresolver.ResolveGitResponse(
            checksum=response.Git.Checksum,
            ref=response.Git.Ref,
            commit_checksum=response.Git.CommitChecksum,
            commit_object=response.Git.CommitObject,
            tag_object=response.Git.TagObject,
        )
    if response.HasField("HTTP"):
        http = _http(response.HTTP)
    return sourceresolver.MetaResponse(op=response.Source, image=image, git=git, http=http)


def _http(message: pb.ResolveSourceHTTPResponse) -> sourceresolver.ResolveHTTPResponse:
    try:
        check_digest(message.Checksum)
    except BuildkitError as err:
        raise errors.wrap(err, f"invalid http checksum digest {quote(message.Checksum)}") from err
    checksum = None
    if message.HasField("ChecksumResponse"):
        checksum = sourceresolver.ResolveHTTPChecksumResponse(
            digest=message.ChecksumResponse.Digest, suffix=message.ChecksumResponse.Suffix
        )
    return sourceresolver.ResolveHTTPResponse(
        digest=message.Checksum,
        filename=message.Filename,
        last_modified=message.LastModified.ToNanoseconds() if message.HasField("LastModified") else None,
        checksum_response=checksum,
    )


def _image(message: pb.ResolveSourceImageResponse) -> sourceresolver.ResolveImageResponse:
    chain = None
    if message.HasField("AttestationChain"):
        source = message.AttestationChain
        chain = sourceresolver.AttestationChain(
            root=source.Root,
            image_manifest=source.ImageManifest,
            attestation_manifest=source.AttestationManifest,
            signature_manifests=tuple(source.SignatureManifests),
            blobs={digest: _blob(blob) for digest, blob in source.Blobs.items()},
        )
    return sourceresolver.ResolveImageResponse(digest=message.Digest, config=message.Config, attestation_chain=chain)


def _blob(message: pb.Blob) -> sourceresolver.Blob:
    descriptor = sourceresolver.Descriptor(
        media_type=message.descriptor.media_type,
        digest=message.descriptor.digest,
        size=message.descriptor.size,
        annotations=dict(message.descriptor.annotations),
    )
    return sourceresolver.Blob(descriptor=descriptor, data=message.data)


async def resolve_image_config(conn: Conn, cap_set: CapSet, ctx: Context, ref: str, opt: Opt) -> tuple[str, str, bytes]:
    """Reference, digest and config of an image."""
    if supported(cap_set, caps.CAP_SOURCE_META_RESOLVER):
        return await _config_by_metadata(conn, ctx, ref, opt)
    request = pb.ResolveImageConfigRequest(
        Ref=ref, LogName=opt.log_name, SourcePolicies=opt.source_policies, Platform=_platform(opt)
    )
    if opt.image_opt is not None:
        request.ResolveMode = opt.image_opt.resolve_mode
        request.ResolverType = sourceresolver.ResolverType.REGISTRY
    if opt.oci_layout_opt is not None:
        request.ResolverType = sourceresolver.ResolverType.OCI_LAYOUT
        request.StoreID = opt.oci_layout_opt.store.store_id
        request.SessionID = opt.oci_layout_opt.store.session_id
    response = await conn.unary(ctx, methods.RESOLVE_IMAGE_CONFIG, request)
    # Old daemons return no reference: the one that was asked for stands.
    return response.Ref or ref, response.Digest, response.Config


async def _config_by_metadata(conn: Conn, ctx: Context, ref: str, opt: Opt) -> tuple[str, str, bytes]:
    op = ops_pb2.SourceOp(identifier=_IMAGE + ref)
    if opt.oci_layout_opt is not None:
        from pybuildkit.third_party.distribution import reference

        store = opt.oci_layout_opt.store
        op.identifier = f"{_OCI_LAYOUT}{reference.parse_normalized_named(ref)}"
        op.attrs[ATTR_OCI_LAYOUT_SESSION_ID] = store.session_id
        op.attrs[ATTR_OCI_LAYOUT_STORE_ID] = store.store_id
    request = pb.ResolveSourceMetaRequest(
        Source=op, Platform=_platform(opt), LogName=opt.log_name, SourcePolicies=opt.source_policies
    )
    response = await conn.unary(ctx, methods.RESOLVE_SOURCE_META, request)
    if not response.HasField("Image"):
        raise sourceresolver.ResolveToNonImageError(ref, response.Source.identifier)
    resolved = response.Source.identifier.removeprefix(_IMAGE).removeprefix(_OCI_LAYOUT)
    return resolved, response.Image.Digest, response.Image.Config
