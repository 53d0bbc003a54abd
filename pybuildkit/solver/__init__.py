"""What daemon and client share of solving. Mirrors package solver of BuildKit, v0.32.2: messages and errors alone."""
