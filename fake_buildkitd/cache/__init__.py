"""Build caches for others: exported to a client's store, a registry or an image, and imported from there."""
