"""Defines the routes of the API, a file for each part."""
