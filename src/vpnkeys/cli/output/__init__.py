"""What commands print: tables, harmless text, rates."""
