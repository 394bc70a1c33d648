"""Imports customers from other panels: a reader for each panel, and one plan of what to write."""
