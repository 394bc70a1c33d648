"""The seam to Xray-core: its file, its API, its process, its sockets."""
