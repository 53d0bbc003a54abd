"""The capabilities of the LLB and control API by name, and the list of those this release knows.

Mirrors solver/pb/caps.go, v0.32.2. As there, two capabilities are named but not in the list, and one keeps its
misspelt identifier, since daemons announce it so.
"""

from __future__ import annotations

from typing import Final

from pybuildkit.util.apicaps import CAP_STATUS_EXPERIMENTAL, CAP_STATUS_PRERELEASE, Cap, CapList

CAP_SOURCE_IMAGE: Final = "source.image"
CAP_SOURCE_IMAGE_RESOLVE_MODE: Final = "source.image.resolvemode"
CAP_SOURCE_IMAGE_LAYER_LIMIT: Final = "source.image.layerlimit"
CAP_SOURCE_IMAGE_CHECKSUM: Final = "source.image.checksum"
CAP_SOURCE_LOCAL: Final = "source.local"
CAP_SOURCE_LOCAL_UNIQUE: Final = "source.local.unique"
CAP_SOURCE_LOCAL_SESSION_ID: Final = "source.local.sessionid"
CAP_SOURCE_LOCAL_INCLUDE_PATTERNS: Final = "source.local.includepatterns"
CAP_SOURCE_LOCAL_FOLLOW_PATHS: Final = "source.local.followpaths"
CAP_SOURCE_LOCAL_EXCLUDE_PATTERNS: Final = "source.local.excludepatterns"
CAP_SOURCE_LOCAL_SHARED_KEY_HINT: Final = "source.local.sharedkeyhint"
CAP_SOURCE_LOCAL_DIFFER: Final = "source.local.differ"
CAP_SOURCE_METADATA_TRANSFER: Final = "source.local.metadatatransfer"
CAP_SOURCE_GIT: Final = "source.git"
CAP_SOURCE_GIT_KEEP_DIR: Final = "source.git.keepgitdir"
CAP_SOURCE_GIT_FULL_URL: Final = "source.git.fullurl"
CAP_SOURCE_GIT_HTTP_AUTH: Final = "source.git.httpauth"
CAP_SOURCE_GIT_KNOWN_SSH_HOSTS: Final = "source.git.knownsshhosts"
CAP_SOURCE_GIT_MOUNT_SSH_SOCK: Final = "source.git.mountsshsock"
CAP_SOURCE_GIT_SUBDIR: Final = "source.git.subdir"
CAP_SOURCE_GIT_CHECKSUM: Final = "source.git.checksum"
CAP_SOURCE_GIT_SKIP_SUBMODULES: Final = "source.git.skipsubmodules"
CAP_SOURCE_GIT_SIGNATURE_VERIFY: Final = "source.git.signatureverify"
CAP_SOURCE_GIT_MTIME: Final = "source.git.mtime"
CAP_SOURCE_GIT_FETCH_BY_COMMIT: Final = "source.git.fetchbycommit"
CAP_SOURCE_GIT_BUNDLE: Final = "source.git.bundle"
CAP_SOURCE_GIT_CHECKOUT_BUNDLE: Final = "source.git.checkoutbundle"
CAP_SOURCE_HTTP: Final = "source.http"
CAP_SOURCE_HTTP_AUTH: Final = "source.http.auth"
CAP_SOURCE_HTTP_CHECKSUM: Final = "source.http.checksum"
CAP_SOURCE_HTTP_PERM: Final = "source.http.perm"
CAP_SOURCE_HTTP_UID_GID: Final = "soruce.http.uidgid"
CAP_SOURCE_HTTP_HEADER: Final = "source.http.header"
CAP_SOURCE_HTTP_SIGNATURE_VERIFY: Final = "source.http.signatureverify"
CAP_SOURCE_IMAGE_BLOB: Final = "source.imageblob"
CAP_SOURCE_OCI_LAYOUT: Final = "source.ocilayout"
CAP_BUILD_OP_LLB_FILE_NAME: Final = "source.buildop.llbfilename"
CAP_EXEC_META_BASE: Final = "exec.meta.base"
CAP_EXEC_META_CGROUP_PARENT: Final = "exec.meta.cgroup.parent"
CAP_EXEC_META_NETWORK: Final = "exec.meta.network"
CAP_EXEC_META_NETWORK_PROXY: Final = "exec.meta.network.proxy"
CAP_EXEC_META_PROXY: Final = "exec.meta.proxyenv"
CAP_EXEC_META_SECURITY: Final = "exec.meta.security"
CAP_EXEC_META_SECURITY_DEVICE_WHITELIST_V1: Final = "exec.meta.security.devices.v1"
CAP_EXEC_META_SETS_DEFAULT_PATH: Final = "exec.meta.setsdefaultpath"
CAP_EXEC_META_ULIMIT: Final = "exec.meta.ulimit"
CAP_EXEC_META_CDI: Final = "exec.meta.cdi"
CAP_EXEC_META_REMOVE_MOUNT_STUBS_RECURSIVE: Final = "exec.meta.removemountstubs.recursive"
CAP_EXEC_META_LINUX_RESOURCES: Final = "exec.meta.linux.resources"
CAP_EXEC_MOUNT_BIND: Final = "exec.mount.bind"
CAP_EXEC_MOUNT_BIND_READ_WRITE_NO_OUTPUT: Final = "exec.mount.bind.readwrite-nooutput"
CAP_EXEC_MOUNT_CACHE: Final = "exec.mount.cache"
CAP_EXEC_MOUNT_CACHE_SHARING: Final = "exec.mount.cache.sharing"
CAP_EXEC_MOUNT_SELECTOR: Final = "exec.mount.selector"
CAP_EXEC_MOUNT_TMPFS: Final = "exec.mount.tmpfs"
CAP_EXEC_MOUNT_TMPFS_SIZE: Final = "exec.mount.tmpfs.size"
CAP_EXEC_MOUNT_SECRET: Final = "exec.mount.secret"
CAP_EXEC_MOUNT_SSH: Final = "exec.mount.ssh"
CAP_EXEC_MOUNT_CONTENT_CACHE: Final = "exec.mount.cache.content"
CAP_EXEC_CGROUPS_MOUNTED: Final = "exec.cgroup"
CAP_EXEC_SECRET_ENV: Final = "exec.secretenv"
CAP_EXEC_VALID_EXIT_CODE: Final = "exec.validexitcode"
CAP_FILE_BASE: Final = "file.base"
CAP_FILE_RM_WILDCARD: Final = "file.rm.wildcard"
CAP_FILE_COPY_INCLUDE_EXCLUDE_PATTERNS: Final = "file.copy.includeexcludepatterns"
CAP_FILE_COPY_REQUIRED_PATHS: Final = "file.copy.requiredpaths"
CAP_FILE_RM_NO_FOLLOW_SYMLINK: Final = "file.rm.nofollowsymlink"
CAP_FILE_COPY_ALWAYS_REPLACE_EXISTING_DEST_PATHS: Final = "file.copy.alwaysreplaceexistingdestpaths"
CAP_FILE_COPY_MODE_STRING_FORMAT: Final = "file.copy.modestring"
CAP_FILE_SYMLINK_CREATE: Final = "file.symlink.create"
CAP_CONSTRAINTS: Final = "constraints"
CAP_PLATFORM: Final = "platform"
CAP_META_IGNORE_CACHE: Final = "meta.ignorecache"
CAP_META_DESCRIPTION: Final = "meta.description"
CAP_META_EXPORT_CACHE: Final = "meta.exportcache"
CAP_REMOTE_CACHE_GHA: Final = "cache.gha"
CAP_REMOTE_CACHE_S3: Final = "cache.s3"
CAP_REMOTE_CACHE_AZ_BLOB: Final = "cache.azblob"
CAP_MERGE_OP: Final = "mergeop"
CAP_DIFF_OP: Final = "diffop"
CAP_PASSTHROUGH_OP: Final = "passthroughop"
CAP_ANNOTATIONS: Final = "exporter.image.annotations"
CAP_ATTESTATIONS: Final = "exporter.image.attestations"
CAP_SOURCE_DATE_EPOCH: Final = "exporter.sourcedateepoch"
CAP_MULTIPLE_EXPORTERS: Final = "exporter.multiple"
CAP_SESSION_EXPORTER: Final = "exporter.session"
CAP_SOURCE_POLICY: Final = "source.policy"
CAP_SOURCE_POLICY_SESSION: Final = "source.policy.session"
CAP_GC_FREE_SPACE_FILTER: Final = "gc.freespacefilter"
CAP_HISTORY_FILTERS: Final = "history.filter"

_UNLISTED = frozenset({CAP_EXEC_META_REMOVE_MOUNT_STUBS_RECURSIVE, CAP_FILE_COPY_MODE_STRING_FORMAT})


def _all_caps() -> list[Cap]:
    """One entry for each constant of this module that the list holds."""
    ids = [value for name, value in globals().items() if name.startswith("CAP_") and isinstance(value, str)]
    special = {
        CAP_FILE_BASE: Cap(
            id=CAP_FILE_BASE,
            enabled=True,
            status=CAP_STATUS_PRERELEASE,
            supported_hint={"docker": "Docker v19.03", "buildkit": "BuildKit v0.5.0"},
        ),
        CAP_SOURCE_DATE_EPOCH: Cap(
            id=CAP_SOURCE_DATE_EPOCH, name="source date epoch", enabled=True, status=CAP_STATUS_EXPERIMENTAL
        ),
    }
    return [
        special.get(cap) or Cap(id=cap, enabled=True, status=CAP_STATUS_EXPERIMENTAL)
        for cap in ids
        if cap not in _UNLISTED
    ]


CAPS: Final = CapList(_all_caps())
"""What this release knows; `CAPS.cap_set(list from a daemon)` tells what both sides support."""
