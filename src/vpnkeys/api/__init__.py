"""HTTP in and out: requests to values, values and errors to answers."""
