"""What PostgreSQL needs beside SQLAlchemy: bounded waiting, the order of writers, and triggers."""
