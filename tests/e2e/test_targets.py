"""REALITY targets are looked at before a key is handed out, and what fails is said in words."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.support.clients import XrayClient
from tests.support.keys import carries, link_of, make_key
from tests.support.ports import free_port
from tests.support.process import PATIENCE_S, wait_until
from tests.support.service import Service
from tests.support.slowness import slowness
from tests.support.streams import ByteServer
from tests.support.target import RealityTarget

from vpnkeys.domain.inbound import ServerIdentity
from vpnkeys.domain.reality import KeyPair
from vpnkeys.settings import DEFAULT_SERVER_NAMES
from vpnkeys.xray.probe.targets import TargetWatch, look_at

pytestmark = pytest.mark.e2e

NAME = "one.example.com"
# Bytes of DER. Between them it depends on how the target's answer comes in pieces: Xray holds 8,192 bytes of it.
FITS, TOO_LONG = 7900, 8197
A_MINUTE_S = 60.0
WAITS_S, WORK_S = 12.0, 3.0
"""Of the fifteen seconds in which a dead target is found, twelve are waits, which a busy machine does not lengthen."""
WELL_UNDER_A_PROBE_S = 4.0


def test_a_good_target_has_no_problem() -> None:
    """TLS 1.3, h2, a certificate for the name and a trusted chain: nothing but the missing post-quantum exchange."""
    with RealityTarget([NAME]) as target:
        report = look_at(NAME, target.address, target.ca_file)
    assert report.is_usable
    assert [warning for warning in report.warnings if "X25519MLKEM768" not in warning] == []


def test_an_untrusted_chain_is_a_warning() -> None:
    """A chain that this host does not trust is told, and keeps nobody out."""
    with RealityTarget([NAME]) as target:
        report = look_at(NAME, target.address)
    assert report.is_usable
    assert any("does not trust its certificate" in warning for warning in report.warnings)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"tls13": False}, "REALITY needs TLS 1.3"),
        ({"h2": False}, "does not speak h2"),
        ({"certificate_names": ["other.example.org"]}, f"has no certificate for {NAME}"),
        ({"certificate_names": ["*.example.org"]}, f"has no certificate for {NAME}"),
        ({"certificate_names": ["*.com"]}, f"has no certificate for {NAME}"),
    ],
)
def test_an_unfit_target_is_told_in_words(options: dict[str, object], words: str) -> None:
    """What a target lacks is named, together with the target."""
    with RealityTarget([NAME], **options) as target:  # type: ignore[arg-type]
        report = look_at(NAME, target.address, target.ca_file)
        assert not report.is_usable
        assert any(words in problem and target.address in problem for problem in report.problems), report


def test_a_wildcard_covers_one_label() -> None:
    """`*.example.com` is a certificate for `one.example.com`."""
    with RealityTarget([NAME], certificate_names=["*.example.com"]) as target:
        assert look_at(NAME, target.address, target.ca_file).is_usable


def test_a_certificate_that_xray_cannot_carry_is_told() -> None:
    """A record of 8,157 bytes may let clients in and one of 8,232 does not, whatever the site's name: it is named."""
    with RealityTarget([NAME]) as target:
        target.change_certificate(8122)
        assert look_at(NAME, target.address, target.ca_file).is_usable
        target.change_certificate(TOO_LONG)
        report = look_at(NAME, target.address, target.ca_file)
    assert not report.is_usable
    assert "a certificate record of 8,232 bytes" in report.problems[0]
    assert "www.microsoft.com" not in DEFAULT_SERVER_NAMES  # it sends 8,273


def test_a_target_that_is_not_there_is_told_in_words() -> None:
    """Nobody listening, and a name that does not resolve, are problems of their own."""
    report = look_at(NAME, f"127.0.0.1:{free_port()}")
    assert "cannot be reached" in report.problems[0]
    report = look_at(NAME, "no-such-host.invalid:443")
    assert "cannot be resolved" in report.problems[0]


@dataclass
class Watched:
    """A target, what watches it, and how often that said that a name became better."""

    target: RealityTarget
    watch: TargetWatch
    better: threading.Semaphore

    def is_down(self) -> bool:
        """Whether its name is not handed out."""
        return self.watch.usable == frozenset()


@contextmanager
def _watched() -> Iterator[Watched]:
    pair, better = KeyPair.new(), threading.Semaphore(0)
    with RealityTarget([NAME], close_idle_s=0.1) as target:
        site = ServerIdentity("127.0.0.1", pair.private_key, "", (NAME,), target.address, "", pair.public_key)
        watch = TargetWatch(target.ca_file, lambda: site, tuple, better.release)
        watch.worker.start()
        try:
            yield Watched(target, watch, better)
        finally:
            watch.worker.stop()


def test_targets_that_die_between_two_checks_are_told() -> None:
    """Within fifteen seconds, though each is checked once a minute; and within ten that they are well again.

    Each has its own fault: it is gone, silent, or shows a certificate that Xray cannot carry.
    """
    with ExitStack() as stack:
        faulty = {fault: stack.enter_context(_watched()) for fault in ("certificate", "silent", "gone")}
        assert all(one.better.acquire(timeout=PATIENCE_S) for one in faulty.values())
        with ExitStack() as faults:
            for fault, one in faulty.items():
                faults.enter_context(_fault(one.target, fault))
            assert wait_until(lambda: all(one.is_down() for one in faulty.values()), WAITS_S + WORK_S * slowness())
            for one in faulty.values():
                (told,) = one.watch.seen()
                assert told.problems[0].startswith(one.target.address)
        well_by = time.monotonic() + 10.0 * slowness()
        for one in faulty.values():
            assert one.better.acquire(timeout=max(0.0, well_by - time.monotonic()))
            assert one.watch.usable == {NAME}


@contextmanager
def _fault(target: RealityTarget, fault: str) -> Iterator[None]:
    """It is ended, does not answer, or shows a certificate that Xray cannot carry; then it is as before."""
    if fault == "gone":
        target.stop()
        yield
        target.start()
    elif fault == "silent":
        target.child.send_signal(signal.SIGSTOP)
        yield
        target.child.send_signal(signal.SIGCONT)
    else:
        target.change_certificate(TOO_LONG)
        yield
        target.change_certificate(FITS)


def test_only_names_of_fit_targets_are_handed_out(byte_server: ByteServer, tmp_path: Path) -> None:
    """With a certificate for one of two names only that one is handed out; `verify-reality` says why. None fit: 503."""
    names = [NAME, "two.example.com"]
    with (
        RealityTarget(names, certificate_names=[NAME], close_idle_s=0.1) as target,
        Service(target, egress_allow=[byte_server.egress_rule]) as service,
    ):
        keys = [make_key(service) for _ in range(8)]
        assert {key["sni"] for key in keys} == {NAME}
        verified = service.client.post("/api/system/verify-reality").json()
        usable = {report["server_name"]: report["usable"] for report in verified["targets"]}
        assert usable == {NAME: True, "two.example.com": False}
        assert any("has no certificate for two.example.com" in warning for warning in verified["warnings"])

        target.stop()
        verified = service.client.post("/api/system/verify-reality")
        assert verified.status_code == 200, verified.text
        assert "cannot be reached" in json.dumps(verified.json()["warnings"])
        refused = service.client.post("/api/keys", json={"name": "never"})
        assert (refused.status_code, refused.json()["code"]) == (503, "targets_unready")
        assert refused.headers["retry-after"]

        target.start()
        service.child.wait_for(
            lambda: service.client.post("/api/keys", json={"name": "again"}).status_code == 200, "keys again"
        )
        with XrayClient(link_of(service, keys[0])) as client:
            assert carries(client.socks, byte_server)


def test_nobody_waits_for_a_probe_of_five_seconds(byte_server: ByteServer) -> None:
    """The target keeps connections open, so that Xray's probe would take five seconds, and clients would sleep as long.

    The first key after a start, and all clients after a restart of Xray, are in within a fraction of that.
    """
    with (
        RealityTarget([NAME, "two.example.com"]) as target,
        Service(target, egress_allow=[byte_server.egress_rule]) as service,
    ):
        began = time.monotonic()
        key = make_key(service)
        with XrayClient(link_of(service, key)) as client:
            assert carries(client.socks, byte_server)
            assert time.monotonic() - began < WELL_UNDER_A_PROBE_S * slowness()
            for path in ("xray/sync-config", "fix-reality-keys"):
                began = time.monotonic()
                assert service.client.post(f"/api/system/{path}").status_code == 200
                assert carries(client.socks, byte_server)
                assert time.monotonic() - began < WELL_UNDER_A_PROBE_S * slowness()
            began = time.monotonic()
            os.kill(service.xray_pid(), signal.SIGKILL)
            wait_until(lambda: carries(client.socks, byte_server, timeout=1.0))
            assert time.monotonic() - began < WELL_UNDER_A_PROBE_S * slowness()


def test_a_name_that_dies_is_taken_back(byte_server: ByteServer) -> None:
    """Within one life of Xray a target's certificate grows too long, and shrinks again, and nobody is asked to look.

    Meanwhile the name is not handed out, and the key that has it is counted in `/health` and named by `targets`.
    """
    with (
        RealityTarget([NAME], close_idle_s=0.1) as target,
        Service(target, egress_allow=[byte_server.egress_rule]) as service,
    ):
        key = make_key(service)
        xray = service.xray_pid()
        target.change_certificate(TOO_LONG)
        assert wait_until(lambda: ready(service) == 0, A_MINUTE_S * slowness())
        refused = service.client.post("/api/keys", json={"name": "never"})
        assert (refused.status_code, refused.json()["code"]) == (503, "targets_unready")
        (told,) = [p for p in service.client.get("/health").json()["problems"] if p["code"] == "target_down"]
        assert "active keys: 1, server names: 1" in told["detail"]
        (seen,) = service.client.get("/api/system/targets").json()["targets"]
        assert (seen["usable"], seen["active_keys"]) == (False, 1)
        assert seen["affected_keys"] == [{"key_id": key["id"], "name": key["name"]}]
        assert f"Nobody gets in with key {key['id']}" in service.cli("system", "targets").stdout

        target.change_certificate(FITS)
        service.wait_ready(A_MINUTE_S * slowness())
        assert make_key(service)["sni"] == NAME
        with XrayClient(link_of(service, key)) as client:
            assert carries(client.socks, byte_server)
        assert service.xray_pid() == xray


def ready(service: Service) -> int:
    """How many server names new keys may get."""
    return int(service.client.get("/health").json()["server_names_ready"])


@pytest.mark.parametrize("times", [1, pytest.param(3, marks=pytest.mark.soak)])
def test_no_link_is_dead_when_it_is_made(times: int, byte_server: ByteServer) -> None:
    """A target dies, and a key is asked for in the same moment: none is made, or its name works."""
    with (
        RealityTarget([NAME], close_idle_s=0.1) as target,
        Service(target, egress_allow=[byte_server.egress_rule]) as service,
    ):
        service.wait_ready()
        for fault in ("gone", "certificate") * times:
            make_key(service)
            with _fault(target, fault):
                refused = service.client.post("/api/keys", json={"name": "never"})
                assert (refused.status_code, refused.json()["code"]) == (503, "targets_unready"), refused.text
                assert "vpnkeys system targets" in refused.json()["detail"]
            service.wait_ready(A_MINUTE_S * slowness())
