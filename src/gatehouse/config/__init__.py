"""Configuration: declared once in `settings`, read by `load`. Everything else (docs, `config show`) derives from it."""
