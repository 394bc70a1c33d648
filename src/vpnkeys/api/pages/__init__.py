"""Pages for people: dashboard, documentation, a customer's subscription."""
