"""The method of the service moby.buildkit.v1.sourcepolicy.policysession.PolicyVerifier.

Mirrors sourcepolicy/policysession/policysession.proto, v0.32.2.
"""

from __future__ import annotations

from pybuildkit.rpc import Method
from pybuildkit.sourcepolicy.policysession.policysession_pb2 import CheckPolicyRequest, CheckPolicyResponse

CHECK_POLICY = Method.of(
    "/moby.buildkit.v1.sourcepolicy.policysession.PolicyVerifier/CheckPolicy", CheckPolicyRequest, CheckPolicyResponse
)
