"""What a frontend needs. Mirrors package frontend of BuildKit, v0.32.2, as far as a client goes."""
