"""Certificates from a real ACME authority: issued, renewed in time, and never worse than before when it fails."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import ClassVar

import pytest
from cryptography import x509
from tests.fakes import FakeClock
from tests.support.acme import Pebble
from tests.support.ports import free_port

from vpnkeys.acme import renewal as renewal_module
from vpnkeys.acme.answers import Answers, HttpAnswers
from vpnkeys.acme.authority import Authority
from vpnkeys.acme.errors import IssuanceFailed
from vpnkeys.acme.renewal import CertificateRenewal, Subject
from vpnkeys.files import write_atomically
from vpnkeys.store.files.certificate import load_issued

NAME = "vpn.example.com"
LATER_S = 60.0


def at_present() -> FakeClock:
    """A clock that shows the real time until it is told otherwise."""
    return FakeClock(datetime.now(UTC).replace(tzinfo=None))


@pytest.fixture(scope="module")
def port() -> int:
    """The port at which the authority checks names, instead of 80."""
    return free_port()


@pytest.fixture(scope="module")
def pebble(port: int) -> Iterator[Pebble]:
    """An authority without failures."""
    with Pebble(port) as pebble:
        yield pebble


def renewal_at(pebble: Pebble, data_dir: Path, port: int, name: str = NAME) -> CertificateRenewal:
    """What renews the certificate in a data directory, as at the start of a server."""
    files = load_issued(data_dir, name)
    account = files.key.with_name("account.pem")
    subject = Subject(name, files.cert, files.key, account, pebble.directory_url, pebble.ca_file)
    return CertificateRenewal(subject, HttpAnswers(port), at_present())


def served(subject: Subject) -> x509.Certificate:
    """The certificate that a server of these files has."""
    return x509.load_pem_x509_certificate(subject.cert.read_bytes())


def who_gets_in(subject: Subject, trusted: str) -> str:
    """The protocol that a client gets which trusts only this authority and asks for this name."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(subject.cert, subject.key)
    client = ssl.create_default_context(cadata=trusted)

    async def connect() -> str:
        listener = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0, ssl=server)
        async with listener:
            address = listener.sockets[0].getsockname()[:2]
            _, writer = await asyncio.open_connection(*address, ssl=client, server_hostname=subject.name)
            version = str(writer.get_extra_info("ssl_object").version())
            writer.close()
            return version

    return asyncio.run(connect())


def test_a_certificate_is_issued_once(pebble: Pebble, tmp_path: Path, port: int) -> None:
    """A client that trusts only the authority gets in; the key is that of before; the next look orders nothing."""
    renewal = renewal_at(pebble, tmp_path, port)
    key = renewal.subject.key.read_bytes()
    assert served(renewal.subject).issuer == served(renewal.subject).subject
    renewal.step()
    assert who_gets_in(renewal.subject, pebble.root()) == "TLSv1.3"
    assert renewal.subject.key.read_bytes() == key
    issued = renewal.subject.cert.read_bytes()
    assert renewal.step() > LATER_S
    assert (renewal.subject.cert.read_bytes(), renewal.fault) == (issued, "")
    secrets = [renewal.subject.key, renewal.subject.account]
    assert [stat.S_IMODE(path.stat().st_mode) for path in secrets] == [0o600, 0o600]


def test_it_is_renewed_before_it_expires(pebble: Pebble, tmp_path: Path, port: int) -> None:
    """Within its last third, and never later than a tenth before its end; a start in between orders nothing."""
    renewal_at(pebble, tmp_path, port).step()
    again = renewal_at(pebble, tmp_path, port)
    first = served(again.subject)
    again.step()
    assert served(again.subject).serial_number == first.serial_number
    again.clock = FakeClock(first.not_valid_after_utc.replace(tzinfo=None) - timedelta(days=8))
    again.step()
    assert served(again.subject).serial_number != first.serial_number


def test_an_address_gets_a_short_lived_one(tmp_path: Path) -> None:
    """Six days, by the profile that the authority has for it."""
    port = free_port()
    with Pebble(port, short_lived=True) as pebble:
        renewal = renewal_at(pebble, tmp_path, port, "127.0.0.1")
        renewal.step()
        certificate = served(renewal.subject)
        assert certificate.not_valid_after_utc - certificate.not_valid_before_utc < timedelta(days=7)
        assert who_gets_in(renewal.subject, pebble.root()) == "TLSv1.3"


def behind_a_firewall(_pebble: Pebble, renewal: CertificateRenewal) -> str:
    """Nobody answers where the authority asks."""
    renewal.answers = HttpAnswers(free_port())
    return "the authority cannot connect to this server"


def without_a_name(pebble: Pebble, renewal: CertificateRenewal) -> str:
    """The name cannot be looked up."""
    pebble.lose(renewal.subject.name)
    return "the authority cannot connect to this server"


@pytest.mark.parametrize("trouble", [behind_a_firewall, without_a_name])
def test_until_a_new_one_works_the_old_one_stays(
    pebble: Pebble, tmp_path: Path, port: int, trouble: Callable[[Pebble, CertificateRenewal], str]
) -> None:
    """A renewal that fails says why, without a name or an address, replaces nothing, and works when all is well."""
    renewal = renewal_at(pebble, tmp_path, port)
    renewal.step()
    old = renewal.subject.cert.read_bytes()
    renewal.clock = FakeClock(at_present().now() + timedelta(days=85))
    reason = trouble(pebble, renewal)
    with pytest.raises(IssuanceFailed):
        renewal.step()
    assert (renewal.fault, renewal.subject.cert.read_bytes()) == (reason, old)
    pebble.find(NAME)
    renewal.answers = HttpAnswers(port)
    renewal.step()
    assert renewal.subject.cert.read_bytes() != old
    assert renewal.fault == ""


def test_a_taken_port_is_named(pebble: Pebble, tmp_path: Path, port: int) -> None:
    """Before an order is made, whose failure the authority would count."""
    renewal = renewal_at(pebble, tmp_path, port)
    with (
        socket.create_server(("127.0.0.1", port)),
        pytest.raises(IssuanceFailed, match=f"another program has port {port}"),
    ):
        renewal.step()
    assert renewal.fault == f"another program has port {port}"


def test_refused_nonces_and_a_slow_check_are_no_failure(tmp_path: Path) -> None:
    """Half of all requests are refused for their nonce, and each check takes a while."""
    port = free_port()
    failures = {"PEBBLE_WFE_NONCEREJECT": "50", "PEBBLE_VA_NOSLEEP": "0", "PEBBLE_VA_SLEEPTIME": "2"}
    with Pebble(port, failures=failures) as rough:
        renewal = renewal_at(rough, tmp_path, port)
        renewal.step()
        assert who_gets_in(renewal.subject, rough.root()) == "TLSv1.3"


def test_an_authority_may_be_away_and_forget_us(tmp_path: Path) -> None:
    """While it does not answer the old certificate stays; one that has lost our account makes it anew."""
    port = free_port()
    with Pebble(port) as pebble:
        renewal = renewal_at(pebble, tmp_path, port)
        renewal.step()
        old = renewal.subject.cert.read_bytes()
        renewal.clock = FakeClock(at_present().now() + timedelta(days=85))
        pebble.stop()
        with pytest.raises(IssuanceFailed):
            renewal.step()
        assert (renewal.fault, renewal.subject.cert.read_bytes()) == ("the authority does not answer", old)
        pebble.start()
        renewal.step()
        assert renewal.subject.cert.read_bytes() != old


def test_a_refusal_is_told(pebble: Pebble, tmp_path: Path, port: int) -> None:
    """By a reason that anybody may read, and nothing is replaced."""
    renewal = renewal_at(pebble, tmp_path, port)
    renewal.subject = replace(renewal.subject, name="blocked.example.com")
    before = renewal.subject.cert.read_bytes()
    with pytest.raises(IssuanceFailed):
        renewal.step()
    assert renewal.fault == "the authority issues nothing for this name"
    assert renewal.subject.cert.read_bytes() == before


def test_what_is_no_authority_is_one_failure(tmp_path: Path, pebble: Pebble, port: int) -> None:
    """A URL that answers with something else."""
    renewal = renewal_at(pebble, tmp_path, port)
    renewal.subject = replace(renewal.subject, directory=pebble.directory_url.replace("/dir", "/nonsense"))
    with pytest.raises(IssuanceFailed):
        renewal.step()


def test_one_that_cannot_be_written_is_not_ordered_twice(
    pebble: Pebble, tmp_path: Path, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that fills up between the order and its end: the same certificate is written when there is room."""
    renewal = renewal_at(pebble, tmp_path, port)
    orders = []
    issue, write = Authority.issue, write_atomically

    def counted(self: Authority, csr: bytes, profile: str, answers: Answers) -> bytes:
        orders.append(csr)
        monkeypatch.setattr(renewal_module, "write_atomically", full)
        return issue(self, csr, profile, answers)

    def full(path: Path, content: bytes) -> None:
        raise OSError(28, os.strerror(28), str(path))

    monkeypatch.setattr(Authority, "issue", counted)
    with pytest.raises(IssuanceFailed, match="No space left"):
        renewal.step()
    assert renewal.fault == "the new certificate cannot be written"
    monkeypatch.setattr(renewal_module, "write_atomically", write)
    renewal.step()
    assert who_gets_in(renewal.subject, pebble.root()) == "TLSv1.3"
    assert len(orders) == 1


def test_a_lost_file_of_trusted_certificates_is_named(pebble: Pebble, tmp_path: Path, port: int) -> None:
    """By its setting, and not as a certificate that cannot be written; then it is put back."""
    renewal = renewal_at(pebble, tmp_path, port)
    there = renewal.subject
    renewal.subject = replace(there, ca_file=tmp_path / "gone.pem")
    with pytest.raises(IssuanceFailed, match=r"VPNKEYS_ACME_CA_FILE: .*gone\.pem cannot be read: No such file"):
        renewal.step()
    assert renewal.fault == "the file of VPNKEYS_ACME_CA_FILE cannot be used"
    renewal.subject = there
    renewal.step()
    assert renewal.fault == ""


def test_a_slow_stranger_delays_no_check(pebble: Pebble, tmp_path: Path, port: int) -> None:
    """Connections that send nothing are there as soon as the port is open, and the check passes beside them."""
    renewal = renewal_at(pebble, tmp_path, port)
    answers, idle = renewal.answers, list[socket.socket]()

    class Crowded:
        kind: ClassVar[str] = "http-01"

        @contextmanager
        def given(self, identifier: str, token: str, key_authorization: str) -> Iterator[None]:
            with answers.given(identifier, token, key_authorization):
                idle.extend(socket.create_connection(("127.0.0.1", port), timeout=10) for _ in range(8))
                yield

    renewal.answers = Crowded()
    try:
        renewal.step()
    finally:
        for connection in idle:
            connection.close()
    assert who_gets_in(renewal.subject, pebble.root()) == "TLSv1.3"
