"""The nodes: which there are, and how each follows the database."""
