"""Tests REALITY targets, server names and links, by TLS handshakes and with a real client."""
