"""Alembic's migrations. Each is written once and never changed after its release; `store.migrate` runs them."""
