"""Rules on what is asked and answered. Today: none; every call passes."""
