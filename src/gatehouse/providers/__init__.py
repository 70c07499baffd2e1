"""The providers Gatehouse knows: data, and what the configuration makes of it."""
