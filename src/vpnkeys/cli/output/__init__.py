"""The output of commands: tables, text that is safe for terminals, live rates."""
