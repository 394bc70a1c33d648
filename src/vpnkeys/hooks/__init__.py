"""The HTTP client that sends events to webhooks."""
