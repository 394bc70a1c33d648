"""Import of an installation of the 2.3 line."""
