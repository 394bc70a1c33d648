"""Every answer and every request body of the API: the server fills them in, the Python client reads them.

This package imports nothing else of ours, so that it can be installed without the server.
"""
