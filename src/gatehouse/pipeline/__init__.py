"""The hot path: what happens to a call, from its head to its record. Read `serve.py` first."""
