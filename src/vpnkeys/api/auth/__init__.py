"""Recognises callers and limits them: API keys, tokens, sessions, the Unix socket, rate limits."""
