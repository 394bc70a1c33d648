"""The HTTP server itself: listener, connections, certificates, log, and what the service manager is told."""
