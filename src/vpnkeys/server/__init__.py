"""The HTTP server: listener, connections, certificates, logging and the notifications to systemd."""
