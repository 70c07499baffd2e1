"""HTTP/1.1 and SSE over bytes. Knows nothing of AI."""
