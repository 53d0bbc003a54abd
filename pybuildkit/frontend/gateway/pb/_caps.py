"""The capabilities of the gateway service.

Mirrors frontend/gateway/pb/caps.go, v0.32.2.
"""

from pybuildkit.util.apicaps import Cap, CapList, CapStatus

CAP_SOLVE_BASE = "solve.base"
CAP_SOLVE_INLINE_RETURN = "solve.inlinereturn"
CAP_RESOLVE_IMAGE = "resolveimage"
CAP_RESOLVE_IMAGE_RESOLVE_MODE = "resolveimage.resolvemode"
CAP_READ_FILE = "readfile"
CAP_RETURN_RESULT = "return"
CAP_RETURN_MAP = "returnmap"
CAP_READ_DIR = "readdir"
CAP_STAT_FILE = "statfile"
CAP_IMPORT_CACHES = "importcaches"
CAP_PROTO_REF_ARRAY = "proto.refarray"
CAP_REFERENCE_OUTPUT = "reference.output"
CAP_FRONTEND_INPUTS = "frontend.inputs"
CAP_GATEWAY_SOLVE_METADATA = "gateway.solve.metadata"
CAP_GATEWAY_EXEC = "gateway.exec"
CAP_GATEWAY_EXEC_EXTRA_HOSTS = "gateway.exec.extrahosts"
CAP_GATEWAY_EXEC_SECRET_ENV = "gateway.exec.secretenv"
CAP_GATEWAY_EXEC_SIGNALS = "gateway.exec.signals"
CAP_GATEWAY_EXEC_FILESYSTEM = "gateway.exec.filesystem"
CAP_FRONTEND_CAPS = "frontend.caps"
CAP_GATEWAY_EVALUATE_SOLVE = "gateway.solve.evaluate"
CAP_GATEWAY_EVALUATE = "gateway.evaluate"
CAP_GATEWAY_WARNINGS = "gateway.warnings"
CAP_ATTESTATIONS = "reference.attestations"
CAP_SOURCE_META_RESOLVER = "source.metaresolver"
CAP_SOURCE_META_RESOLVER_IMAGE_ATTESTATIONS = "source.metaresolver.image.attestations"
CAP_SOURCE_META_RESOLVER_HTTP_CHECKSUM_REQUEST = "source.metaresolver.http.checksumrequest"

CAPS = CapList(
    [
        Cap(id=CAP_SOLVE_BASE, enabled=True, status=CapStatus.EXPERIMENTAL),
        Cap(
            id=CAP_SOLVE_INLINE_RETURN,
            name="inline return from solve",
            enabled=True,
            deprecated=True,
            status=CapStatus.EXPERIMENTAL,
        ),
        Cap(id=CAP_RESOLVE_IMAGE, name="resolve remote image config", enabled=True, status=CapStatus.EXPERIMENTAL),
        Cap(
            id=CAP_RESOLVE_IMAGE_RESOLVE_MODE,
            name="resolve remote image config with custom resolvemode",
            enabled=True,
            status=CapStatus.EXPERIMENTAL,
        ),
        Cap(id=CAP_READ_FILE, name="read static file", enabled=True, status=CapStatus.EXPERIMENTAL),
        Cap(id=CAP_RETURN_RESULT, name="return solve result", enabled=True, status=CapStatus.EXPERIMENTAL),
        Cap(id=CAP_RETURN_MAP, name="return reference map", enabled=True, status=CapStatus.EXPERIMENTAL),
        Cap(id=CAP_READ_DIR, name="read static directory", enabled=True, status=CapStatus.EXPERIMENTAL),
        Cap(id=CAP_STAT_FILE, name="stat a file", enabled=True, status=CapStatus.EXPERIMENTAL),
        Cap(id=CAP_IMPORT_CACHES, name="import caches", enabled=True, status=CapStatus.EXPERIMENTAL),
        Cap(id=CAP_PROTO_REF_ARRAY, name="wire format ref arrays", enabled=True, status=CapStatus.EXPERIMENTAL),
        Cap(id=CAP_REFERENCE_OUTPUT, name="reference output", enabled=True, status=CapStatus.EXPERIMENTAL),
        Cap(id=CAP_FRONTEND_INPUTS, name="frontend inputs", enabled=True, status=CapStatus.EXPERIMENTAL),
        Cap(id=CAP_GATEWAY_SOLVE_METADATA, name="gateway metadata", enabled=True, status=CapStatus.EXPERIMENTAL),
        Cap(id=CAP_GATEWAY_EXEC, name="gateway exec", enabled=True, status=CapStatus.EXPERIMENTAL),
        Cap(
            id=CAP_GATEWAY_EXEC_EXTRA_HOSTS,
            name="gateway exec extra-hosts",
            enabled=True,
            status=CapStatus.EXPERIMENTAL,
        ),
        Cap(
            id=CAP_GATEWAY_EXEC_SECRET_ENV, name="gateway exec secret env", enabled=True, status=CapStatus.EXPERIMENTAL
        ),
        Cap(id=CAP_GATEWAY_EXEC_SIGNALS, name="gateway exec signals", enabled=True, status=CapStatus.EXPERIMENTAL),
        Cap(
            id=CAP_GATEWAY_EXEC_FILESYSTEM, name="gateway exec filesystem", enabled=True, status=CapStatus.EXPERIMENTAL
        ),
        Cap(id=CAP_FRONTEND_CAPS, name="frontend capabilities", enabled=True, status=CapStatus.EXPERIMENTAL),
        Cap(id=CAP_GATEWAY_EVALUATE_SOLVE, name="gateway evaluate solve", enabled=True, status=CapStatus.EXPERIMENTAL),
        Cap(id=CAP_GATEWAY_EVALUATE, name="gateway evaluate", enabled=True, status=CapStatus.EXPERIMENTAL),
        Cap(id=CAP_GATEWAY_WARNINGS, name="logging warnings", enabled=True, status=CapStatus.EXPERIMENTAL),
        Cap(id=CAP_ATTESTATIONS, name="reference attestations", enabled=True, status=CapStatus.EXPERIMENTAL),
        Cap(id=CAP_SOURCE_META_RESOLVER, name="source meta resolver", enabled=True, status=CapStatus.EXPERIMENTAL),
        Cap(
            id=CAP_SOURCE_META_RESOLVER_IMAGE_ATTESTATIONS,
            name="source meta resolver image attestations",
            enabled=True,
            status=CapStatus.EXPERIMENTAL,
        ),
        Cap(
            id=CAP_SOURCE_META_RESOLVER_HTTP_CHECKSUM_REQUEST,
            name="source meta resolver http checksum request",
            enabled=True,
            status=CapStatus.EXPERIMENTAL,
        ),
    ]
)
