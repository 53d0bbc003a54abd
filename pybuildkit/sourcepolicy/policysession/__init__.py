"""Source policies decided by the client while a build runs.

Mirrors package sourcepolicy/policysession of BuildKit, v0.32.2. `PolicyVerifier` is the daemon's end,
`PolicyProvider` the client's. A denial's messages travel with the build's error.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pybuildkit._lazy import attach

if TYPE_CHECKING:
    from pybuildkit.sourcepolicy.policysession._denyerror import (
        DenyMessagesError,
        deny_messages,
        wrap_deny_messages,
    )
    from pybuildkit.sourcepolicy.policysession._methods import CHECK_POLICY
    from pybuildkit.sourcepolicy.policysession._provider import PolicyCallback, PolicyProvider, new_policy_provider
    from pybuildkit.sourcepolicy.policysession._verifier import PolicyVerifier, new_verifier

_EXPORTS = {
    "CHECK_POLICY": "_methods",
    "DenyMessagesError": "_denyerror",
    "PolicyCallback": "_provider",
    "PolicyProvider": "_provider",
    "PolicyVerifier": "_verifier",
    "deny_messages": "_denyerror",
    "new_policy_provider": "_provider",
    "new_verifier": "_verifier",
    "wrap_deny_messages": "_denyerror",
}

__all__ = [
    "CHECK_POLICY",
    "DenyMessagesError",
    "PolicyCallback",
    "PolicyProvider",
    "PolicyVerifier",
    "deny_messages",
    "new_policy_provider",
    "new_verifier",
    "wrap_deny_messages",
]

__getattr__, _ = attach(__name__, _EXPORTS)
