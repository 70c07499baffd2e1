"""Which request goes where, decided on the raw path."""
