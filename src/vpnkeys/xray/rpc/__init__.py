"""Xray's gRPC API on its Unix socket."""
