"""The directory: the administrative state. Tenants, people, projects, credentials, keys, limits. See `docs/store.md`.

Rules: not a projection of the journal but the truth itself, so a change is on disk when its transaction ends, together
with the event that tells of it (`dir_outbox`). One tenant's rows are reached through `Directory`, whose methods take no
tenant (I6); `OperatorStore` alone sees them all. Secrets are sealed before they come here, keys and tokens are digests.
"""
