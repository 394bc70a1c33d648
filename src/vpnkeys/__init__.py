"""A VPN key management server that drives a real Xray-core."""

__version__ = "1.0.0"
