"""Inbounds as config.json and as protobuf messages, and config.json on disk."""
