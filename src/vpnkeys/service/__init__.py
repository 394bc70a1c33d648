"""What the product does: each use case once, whoever asks for it."""
