"""Serves pages for people: the dashboard, the documentation, a customer's subscription."""
