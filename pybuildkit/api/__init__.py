"""The services and types that a daemon offers. Mirrors package api of BuildKit, v0.32.2."""
