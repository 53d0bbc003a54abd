"""Tests of pybuildkit.rpc."""
