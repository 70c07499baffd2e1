"""The control plane: a FastAPI app on a Unix socket, the collector, and the journal's housekeeping. One process."""
