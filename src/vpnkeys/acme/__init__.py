"""Gets the API's certificate from an authority by ACME (RFC 8555), and renews it in the background.

The only home of the `acme` library, which is imported at the first step: most servers have no domain.
"""
