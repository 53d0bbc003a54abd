"""Types that several services share (`worker_pb2`). Mirrors api/types, v0.32.2."""
