"""From a snapshot to live objects, and the front door: which plane answers a request."""
