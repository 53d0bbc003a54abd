"""The messages of source policies (`policy_pb2`). Mirrors sourcepolicy/pb, v0.32.2."""
