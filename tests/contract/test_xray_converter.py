"""Xray's own word: what its converter, its test and its running API make of what is rendered here."""

import re
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.strategies import desired_states, inbounds, private_keys
from tests.support.binaries import xray_binary
from tests.support.ports import release_range, reserve_range
from tests.support.process import ChildProcess
from tests.unit.test_config import FRAME, UNGUARDED

from vpnkeys.domain.inbound import Inbound
from vpnkeys.domain.reality import KeyPair
from vpnkeys.xray.config import protobuf as wire
from vpnkeys.xray.config.check import xray_checker
from vpnkeys.xray.config.document import BaseConfig, merge
from vpnkeys.xray.config.pieces import JsonObject, render_inbound
from vpnkeys.xray.rpc.control import XrayControl

pytestmark = pytest.mark.e2e

_tagged_apart = st.lists(inbounds(), min_size=1, max_size=20, unique_by=lambda inbound: inbound.tag)
_one_process_an_example = settings(max_examples=15, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module")
def xray() -> Path:
    """The real one."""
    return xray_binary()


def converted(xray: Path, document: JsonObject, directory: Path) -> bytes:
    """Xray's own protobuf of a config.json."""
    source, target = directory / "config.json", directory / "config.pb"
    source.write_bytes(orjson.dumps(document))
    target.unlink(missing_ok=True)
    command = [str(xray), "convert", "pb", "-outpbfile", str(target), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return target.read_bytes()


def elements(message: bytes, number: int) -> list[bytes]:
    """The raw bytes of a repeated message field: nothing parsed, nothing written anew."""
    found, at = [], 0
    while at < len(message):
        tag, at = varint(message, at)
        assert tag & 7 == 2, "a config holds nothing but messages"
        size, at = varint(message, at)
        if tag >> 3 == number:
            found.append(message[at : at + size])
        at += size
    return found


def varint(message: bytes, at: int) -> tuple[int, int]:
    """A number in protobuf's spelling, and where it ends."""
    value = shift = 0
    while True:
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, at


@given(wanted=_tagged_apart)
@_one_process_an_example
def test_both_renderers_say_the_same(
    xray: Path, tmp_path_factory: pytest.TempPathFactory, wanted: list[Inbound]
) -> None:
    """What is added to the running Xray is byte for byte what it would read from the file after a restart."""
    document: JsonObject = {"inbounds": [render_inbound(inbound) for inbound in wanted]}
    theirs = elements(converted(xray, document, tmp_path_factory.getbasetemp()), 1)
    ours = [wire.render(inbound).SerializeToString(deterministic=True) for inbound in wanted]
    assert theirs == ours


@pytest.mark.parametrize("base", [FRAME, UNGUARDED], ids=["guarded", "unguarded"])
@given(desired=desired_states())
@_one_process_an_example
def test_xray_accepts_every_merged_config(
    xray: Path, tmp_path_factory: pytest.TempPathFactory, base: BaseConfig, desired: tuple[Inbound, ...]
) -> None:
    """Whatever the keys: `xray run -test` finds nothing to complain about."""
    path = tmp_path_factory.getbasetemp() / "merged.json"
    path.write_bytes(orjson.dumps(merge({}, base, desired)))
    xray_checker(xray)(path)


@given(private=private_keys)
@_one_process_an_example
def test_public_keys_are_what_xray_computes(xray: Path, private: str) -> None:
    """A link with another public key would let nobody in."""
    said = subprocess.run([str(xray), "x25519", "-i", private], capture_output=True, text=True, check=True).stdout
    # The words around the keys change from version to version; the keys are the only texts of 43 characters.
    assert KeyPair.of_private(private).public_key in re.findall(r"(?<![\w-])[\w-]{43}(?![\w-])", said)


@pytest.fixture(scope="module")
def port_range() -> Iterator[range]:
    """Ports for inbounds that really listen."""
    ports = reserve_range(20)
    yield ports
    release_range(ports)


@pytest.fixture(scope="module")
def running(xray: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ChildProcess, XrayControl]]:
    """A real Xray with nothing but its API."""
    directory = tmp_path_factory.mktemp("xray")
    config, socket = directory / "config.json", directory / "api.sock"
    config.write_bytes(orjson.dumps(merge({}, BaseConfig(str(socket), FRAME.pool), ())))
    child = ChildProcess([str(xray), "run", "-c", str(config)], name="xray", log_path=directory / "log")
    control = XrayControl(socket, timeout_s=10)
    try:
        child.wait_for(socket.exists, "socket of the API")
        control.ping()
        yield child, control
    finally:
        control.close()
        child.stop()


@given(data=st.data())
@settings(max_examples=40, suppress_health_check=list(HealthCheck))
def test_whatever_is_rendered_can_be_added_to_a_running_xray(
    running: tuple[ChildProcess, XrayControl],
    port_range: range,
    tmp_path_factory: pytest.TempPathFactory,
    data: st.DataObject,
) -> None:
    """Added, listed back equal in every field, replaced by itself, removed; and Xray lives on."""
    child, control = running
    made = data.draw(inbounds(listen=st.just("127.0.0.1"), port=st.sampled_from(port_range)))
    inbound = on_loopback(made, tmp_path_factory.getbasetemp())
    control.add(inbound)
    assert control.inbounds() == {inbound.tag: inbound}
    control.add(inbound)
    assert control.inbounds() == {inbound.tag: inbound}
    control.remove(inbound.tag)
    control.remove(inbound.tag)
    assert control.inbounds() == {}
    assert child.running


def on_loopback(inbound: Inbound, directory: Path) -> Inbound:
    """The inbound with a target where nobody is: Xray dials it at once. Its socket, if it has one, in a directory."""
    reality = replace(inbound.reality, target="127.0.0.1:1")
    listen = inbound.listen if inbound.port else f"{directory}/fuzz.sock,0600"
    return replace(inbound, reality=reality, listen=listen)
