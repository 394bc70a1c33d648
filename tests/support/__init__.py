"""Real parts for the end-to-end tests: servers, clients and the service, each its own process."""
