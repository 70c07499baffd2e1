"""Connections to upstreams: resolving, connecting, pooling."""
