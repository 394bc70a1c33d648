"""Converts between the domain's values and those of the API, where several routes need it."""
