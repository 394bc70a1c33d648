"""Holds the revisions of the database, a module each."""
