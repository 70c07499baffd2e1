"""Benchmarks: `python -m bench` (see README.md for the method). Nothing here is imported by the product."""
