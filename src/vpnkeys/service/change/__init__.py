"""Carries out changes of keys in the database, in config.json and in Xray, and keeps what is not finished yet."""
