"""Frontends: what turns options and files into build graphs."""
