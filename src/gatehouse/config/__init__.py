"""Configuration: declared once in `settings`, read by `load`. Everything else (docs, `config show`) derives from it.

And what every process goes by: where things lie (`paths`), how they are tied together (`leash`, `loads`,
`control_headers`), what addresses mean (`addresses`).
"""
