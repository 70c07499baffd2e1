"""The append-only, hash-chained record of every call: written, read, verified, recovered, retained."""
