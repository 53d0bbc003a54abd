"""The control service: its messages (`control_pb2`) and methods. Mirrors api/services/control, v0.32.2."""
