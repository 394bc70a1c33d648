"""Finds or builds the Xray program, and starts and watches its process."""
