"""The way out to the receivers of webhooks."""
