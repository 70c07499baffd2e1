"""The store: calls, spans and captured bodies in a database, projected from the journal and rebuildable from it."""
