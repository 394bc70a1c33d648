"""Real clients and looks at REALITY targets: which server names work, and whether a link does."""
