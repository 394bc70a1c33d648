"""Moves whole databases: to another kind of database, and into files and back."""
