"""Answers HTTP: turns requests into calls of the services, and their values and errors into answers."""
