"""One file per migration, `m` and its revision first."""
