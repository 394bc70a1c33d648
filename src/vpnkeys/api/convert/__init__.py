"""Conversions between what the product knows and what the API says, where several routes share them."""
