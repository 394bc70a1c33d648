"""The speed limits' ruleset as text, and what is said where limits are impossible."""

from pathlib import Path

import pytest

from vpnkeys.domain.errors import SpeedLimitImpossible
from vpnkeys.xray.host.speed import MAX_MBPS, SpeedLimiter, ruleset

TABLE = "vpnkeys_0_speed"


def lines(limits: dict[int, int]) -> list[str]:
    """The ruleset, line by line."""
    return ruleset(TABLE, limits).splitlines()


def fake_nft(monkeypatch: pytest.MonkeyPatch, directory: Path, script: str) -> None:
    """An `nft` that notes its arguments in `said`, then runs the script, is the only one."""
    program = directory / "nft"
    program.write_text(f'#!/bin/sh\necho "$@" >>{directory}/said\n{script}\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(directory))


def test_one_transaction_replaces_what_was_there() -> None:
    """The table is made, deleted and made again in one text, so that applying it twice is applying it once."""
    assert lines({10001: 5})[:3] == [f"table inet {TABLE}", f"delete table inet {TABLE}", f"table inet {TABLE} {{"]


def test_each_port_has_a_limit_each_way() -> None:
    """94 % of the limit in bytes a second, down and up, each its own bucket."""
    text = lines({10002: 100, 10001: 5})
    for way in ("down", "up"):
        assert text[text.index(f"limit {way}_10001 {{") + 1] == "rate over 587500 bytes/second"
        assert text[text.index(f"limit {way}_10002 {{") + 1] == "rate over 11750000 bytes/second"
        assert f'elements = {{ 10001 : "{way}_10001", 10002 : "{way}_10002" }}' in text


def test_only_the_servers_own_port_counts() -> None:
    """Down is what leaves from the port, up what arrives for it; no rule looks at anything else."""
    text = lines({10001: 5})
    assert text[text.index("chain leaving {") + 2] == "limit name tcp sport map @down drop"
    assert text[text.index("chain arriving {") + 2] == "limit name tcp dport map @up drop"
    assert sum("drop" in line for line in text) == 2


def test_the_order_of_the_limits_says_nothing() -> None:
    """The same limits are the same text."""
    assert ruleset(TABLE, {1: 2, 3: 4}) == ruleset(TABLE, {3: 4, 1: 2})


@pytest.mark.parametrize("limits", [{10001: 0}, {10001: -1}, {10001: MAX_MBPS + 1}, {0: 5}, {65536: 5}])
def test_nonsense_is_a_bug(limits: dict[int, int]) -> None:
    """What the domain should have refused never gets to nft."""
    with pytest.raises(ValueError, match="invalid speed limit"):
        SpeedLimiter(TABLE).apply(limits)


def test_without_nft_it_is_impossible(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A host without nft refuses a limit and says what to install; to no limits it agrees."""
    monkeypatch.setenv("PATH", str(tmp_path))
    limiter = SpeedLimiter(TABLE)
    assert not limiter.is_possible()
    with pytest.raises(SpeedLimitImpossible, match=r"install nftables\. Install nftables, .* CAP_NET_ADMIN") as caught:
        limiter.apply({10001: 5})
    assert caught.value.code == "speed_limit_impossible"
    limiter.apply({})
    limiter.remove()


def test_the_trial_is_remembered(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Asking again runs nothing; a limit is tried again all the same, as the cause may have been remedied."""
    fake_nft(monkeypatch, tmp_path, 'echo "Error: Operation not permitted" >&2; exit 1')
    limiter = SpeedLimiter(TABLE)
    assert [limiter.is_possible(), limiter.is_possible()] == [False, False]
    assert (tmp_path / "said").read_text() == "-f -\n"
    with pytest.raises(SpeedLimitImpossible, match="nft: Operation not permitted"):
        limiter.apply({10001: 5})
    assert (tmp_path / "said").read_text() == "-f -\n-f -\n"


def test_rules_that_limit_nothing_are_noticed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An nft that agrees and does nothing is no reason to promise a limit; the trial's table is taken away."""
    fake_nft(monkeypatch, tmp_path, "")
    with pytest.raises(SpeedLimitImpossible, match="they limit nothing"):
        SpeedLimiter(TABLE).apply({10001: 5})
    assert (tmp_path / "said").read_text() == f"-f -\ndelete table inet {TABLE}_try\n"


def test_no_limits_cost_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Only the first time something is looked for that a killed process may have left."""
    fake_nft(monkeypatch, tmp_path, 'echo "Error: No such file or directory" >&2; exit 1')
    limiter = SpeedLimiter(TABLE)
    for _ in range(3):
        limiter.apply({})
    assert (tmp_path / "said").read_text() == f"delete table inet {TABLE}\ndelete table inet {TABLE}_try\n"
