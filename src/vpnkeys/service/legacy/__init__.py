"""Imports an installation of the 2.3 line: reads what Xray served, and plans what to write."""
