"""Frozen values that pass between the layers. No behaviour beyond arithmetic on their own fields, no I/O."""
