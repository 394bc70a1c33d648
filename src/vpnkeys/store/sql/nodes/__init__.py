"""Stores nodes: which there are, how they join, and when they were last seen."""
