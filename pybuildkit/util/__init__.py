"""What several packages need. Mirrors package util of BuildKit, v0.32.2."""
