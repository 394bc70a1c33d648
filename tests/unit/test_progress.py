"""Nobody is left alone with a silent command: what goes on is named again until something else is said."""

from __future__ import annotations

from queue import Empty, SimpleQueue

import pytest

from vpnkeys.cli.output.progress import Progress

LONG_S = 60.0


@pytest.mark.parametrize(
    ("line", "step"),
    [
        ("Making release 0.1.0-1 (/usr/bin/python3.11); this takes a minute or two.", "Making release 0.1.0-1"),
        ("Starting the services.", "Starting the services"),
        ("Fetching https://a.example/x.zip", "Fetching https"),
    ],
)
def test_a_silent_step_is_named_again(line: str, step: str) -> None:
    """By its first words, with the seconds since it began, again and again."""
    lines: SimpleQueue[str] = SimpleQueue()
    with Progress(lines.put, each_s=0.01) as progress:
        progress.say(line)
        assert lines.get(timeout=LONG_S) == line
        assert [lines.get(timeout=LONG_S) for _ in range(3)] == [f"{step}: 0 s"] * 3


def test_nothing_follows_the_end_or_a_question() -> None:
    """The last line of a command is its last; and who is asked is not disturbed."""
    lines: SimpleQueue[str] = SimpleQueue()
    with Progress(lines.put, each_s=0.2) as progress:
        progress.say("Testing.")
        progress.rest()
        lines.get(timeout=LONG_S)
        with pytest.raises(Empty):
            lines.get(timeout=0.5)
        progress.say("Done.")
    assert (lines.get(timeout=LONG_S), lines.empty()) == ("Done.", True)
