"""Rates, concurrency, spend. Today: none; every call is admitted."""
