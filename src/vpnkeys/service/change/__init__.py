"""How a change of keys becomes true: the road itself, and what it keeps in mind."""
