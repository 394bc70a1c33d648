"""Lets assertions in the tests' support show their values when they fail, as those of tests do."""

import pytest

pytest.register_assert_rewrite("tests.support")  # in a file of its own, before `tests/conftest.py` imports them
