"""Alembic's environment and revisions; shipped in the package, run by `store.migrate`."""
