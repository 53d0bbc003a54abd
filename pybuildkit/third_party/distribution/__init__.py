"""Ports of github.com/distribution modules."""
