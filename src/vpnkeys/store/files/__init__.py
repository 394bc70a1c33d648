"""The files of the data directory other than the database: secrets, certificate, backups."""
