"""The gateway, by which a frontend speaks to the daemon. Mirrors frontend/gateway, v0.32.2, as far as a client goes."""
