"""Defines each use case of the product once, for the API, the command line and the background workers."""
