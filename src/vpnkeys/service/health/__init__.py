"""What is wrong with the server now, and the background questions that find it out."""
