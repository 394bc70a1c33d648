"""The Xray program and its process: found or built, started, watched."""
