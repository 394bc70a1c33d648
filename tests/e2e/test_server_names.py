"""Server names are tested again and again with a real client, within one life of a real Xray."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.prober import NONE, PATIENCE_S, ProberBench, prober_bench
from tests.support.process import wait_until
from tests.support.slowness import slowness

from vpnkeys.domain.inbound import warm_inbound

pytestmark = pytest.mark.e2e

ONE, TWO = "one.example.com", "two.example.com"
BOTH = frozenset({ONE, TWO})
# Bytes of DER. Between them it depends on how the target's answer comes in pieces: Xray holds 8,192 bytes of it.
FITS, TOO_LONG = 7900, 8197


@pytest.fixture
def tested(tmp_path: Path) -> Iterator[ProberBench]:
    """Two names, both ready."""
    with prober_bench(tmp_path, (ONE, TWO)) as bench:
        yield bench


def test_a_name_follows_its_target(tested: ProberBench) -> None:
    """A certificate that grows beyond what Xray carries takes the name back, one that shrinks gives it again."""
    tested.target.change_certificate(TOO_LONG)
    assert tested.comes_to(ready=NONE, failing=BOTH)
    tested.target.change_certificate(FITS)
    assert tested.comes_to(ready=BOTH)


def test_one_name_fails_by_itself(tested: ProberBench) -> None:
    """A name that lets no client in is taken back though its target is fit, and the other one stays."""
    tested.control.remove(warm_inbound(TWO, tested.site).tag)
    assert tested.comes_to(ready=frozenset({ONE}), failing=frozenset({TWO}))
    tested.control.add(warm_inbound(TWO, tested.site))
    assert tested.comes_to(ready=BOTH)


def test_a_suspect_is_handed_out_after_its_test(tested: ProberBench) -> None:
    """It is neither ready nor failing until a client has got through it."""
    tested.prober.suspect(ONE)
    assert ONE not in tested.prober.failing
    assert wait_until(lambda: tested.prober.ready == BOTH, PATIENCE_S * slowness())


def test_nobody_waits_when_all_names_have_failed(tested: ProberBench) -> None:
    """`ready` waits only while the result of a test may still come."""
    tested.target.stop()
    assert tested.comes_to(ready=NONE, failing=BOTH)
    assert wait_until(lambda: tested.prober.wait_ready(PATIENCE_S * slowness()) == NONE, 1.0 * slowness())
