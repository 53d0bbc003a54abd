"""Ports of github.com/containerd modules."""
