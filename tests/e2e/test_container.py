"""The image: built on a base that debootstrap made, run by the documentation's command, then by the compose file."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator, Sequence

import pytest
import yaml  # type: ignore[import-untyped]
from tests.conftest import SERVER_NAMES
from tests.support.binaries import xray_binary
from tests.support.clients import XrayClient
from tests.support.keys import carries
from tests.support.link import VlessLink
from tests.support.manual import EN, blocks_of
from tests.support.podman import BASE, ULIMITS, Podman, pip_without_network
from tests.support.process import REPOSITORY, wait_until
from tests.support.room import Room
from tests.support.rootfs import NoGuestError
from tests.support.streams import ByteServer
from tests.support.target import RealityTarget

pytestmark = [pytest.mark.e2e, pytest.mark.soak, pytest.mark.timeout(1800)]

_CAPABILITIES = 1 << 10 | 1 << 12  # CAP_NET_BIND_SERVICE, CAP_NET_ADMIN (linux/capability.h)
_NAME = "vpnkeys"


def documented(verb: str) -> list[str]:
    """The words of the page's first podman command with this verb, after `podman`."""
    lines = "\n".join(block.code for block in blocks_of(EN / "container.md")).replace("\\\n", " ").splitlines()
    return next(shlex.split(line, comments=True)[1:] for line in lines if line.startswith(f"podman {verb} "))


def composed() -> list[str]:
    """What `podman run` is given to run the compose file's service, as docker compose would."""
    service = yaml.safe_load((REPOSITORY / "deploy" / "compose.yaml").read_text())["services"]["vpnkeys"]
    many = {"cap_drop": "--cap-drop", "cap_add": "--cap-add", "security_opt": "--security-opt", "tmpfs": "--tmpfs"}
    words = ["run", "--detach", "--name", _NAME, "--network", service["network_mode"], "--user", service["user"]]
    words += [word for key, option in many.items() for value in service[key] for word in (option, value)]
    words += ["--read-only"] if service["read_only"] else []
    return [*words, "--volume", service["volumes"][0].replace("data:", "vpnkeys:"), service["image"]]


def lowered(words: Sequence[str]) -> list[str]:
    """The command with the bounds that this machine can give, and a log that needs no journal."""
    at = words.index("--ulimit") if "--ulimit" in words else len(words)
    kept = [*words[:at], *words[at + 2 :]]
    return [kept[0], *ULIMITS, "--log-driver", "k8s-file", *kept[1:]]


@pytest.fixture(scope="module")
def podman(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Podman]:
    """Podman, with the image that the documentation's command builds."""
    try:
        with Podman() as podman:
            given, conf = xray_binary(), pip_without_network(tmp_path_factory.mktemp("pip"))
            volumes = (f"{podman.wheels}:/wheels:ro", f"{given}:/given/xray:ro", f"{conf}:/etc/pip.conf:ro")
            build = documented("build")
            assert build.pop() == "."
            build += ["--build-arg", f"BASE={BASE}", "--build-arg", "XRAY_BIN=/given/xray"]
            build += [word for volume in volumes for word in ("--volume", volume)]
            podman.ok(*build, "--isolation", "chroot", "--network", "host", "--ulimit", "nofile=1024:1024", REPOSITORY)
            yield podman
    except NoGuestError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def far_ends(podman: Podman) -> Iterator[tuple[RealityTarget, ByteServer]]:
    """A network of the test's own, which is the host's to the container, with a REALITY target and a far end."""
    with Room(), RealityTarget(SERVER_NAMES, close_idle_s=0.1) as target, ByteServer() as far:
        yield target, far


def start(podman: Podman, far_ends: tuple[RealityTarget, ByteServer], words: Sequence[str]) -> None:
    """Run the container, and wait until the image's health check passes and names work."""
    target, far = far_ends
    settings = {
        "SERVER_ADDRESS": "127.0.0.1",
        "REALITY_TARGET": target.address,
        "REALITY_SERVER_NAMES": ",".join(target.names),
        "XRAY_CA_FILE": "/ca.pem",
        "EGRESS_ALLOW": far.egress_rule,
    }
    given = [word for name, value in settings.items() for word in ("--env", f"VPNKEYS_{name}={value}")]
    verb, *rest = lowered(words)
    podman.ok(verb, "--volume", f"{target.ca_file}:/ca.pem:ro", *given, *rest)
    assert wait_until(lambda: podman.run("healthcheck", "run", _NAME).returncode == 0), podman.run("logs", _NAME).stderr
    assert wait_until(lambda: health(podman).get("server_names_ready") == len(target.names))


def health(podman: Podman) -> dict[str, object]:
    """The server's health, by the command in the container."""
    done = podman.run("exec", _NAME, "vpnkeys", "status", "--json")
    found: dict[str, object] = json.loads(done.stdout) if done.stdout.startswith("{") else {}
    return found


def assert_confined(podman: Podman) -> None:
    """Server and Xray are the ordinary user with two capabilities, which suffice, and write to the volume alone."""
    pids = podman.ok("exec", _NAME, "sh", "-c", "pgrep xray; echo 1").split()
    assert len(pids) == 2
    for pid in pids:
        status = podman.ok("exec", _NAME, "cat", f"/proc/{pid}/status")
        fields = dict(line.partition(":\t")[::2] for line in status.splitlines())
        assert fields["Uid"].split() == ["10080"] * 4
        assert {int(fields[f"Cap{kind}"], 16) for kind in ("Inh", "Prm", "Eff", "Bnd", "Amb")} == {_CAPABILITIES}
        assert fields["NoNewPrivs"] == "1"
    found = health(podman)
    assert (found["connection_cut"], found["udp_full_cone"]) == ("available", "available"), found
    assert podman.run("exec", _NAME, "touch", "/opt/vpnkeys/file").returncode != 0


def test_the_image_serves_as_documented(podman: Podman, far_ends: tuple[RealityTarget, ByteServer]) -> None:
    """From the build to bytes through a key; the compose file's container finds key and traffic in the volume."""
    start(podman, far_ends, documented("run"))
    assert_confined(podman)
    logs = podman.run("logs", _NAME)
    assert len(re.findall(r"API key.*: \S{20,}", logs.stdout + logs.stderr)) == 1, logs
    add = documented("exec")
    link = VlessLink.parse(json.loads(podman.ok(*add, "--json"))["vless_url"])
    used = carry(podman, far_ends[1], link)
    podman.ok("rm", "--force", "--time", "20", _NAME)

    start(podman, far_ends, composed())
    assert_confined(podman)
    assert total(podman, link) >= used
    assert carry(podman, far_ends[1], link) > used


def carry(podman: Podman, far: ByteServer, link: VlessLink) -> int:
    """Let a client carry known bytes, and return what its key has used."""
    with XrayClient(link) as client:
        assert wait_until(lambda: carries(client.socks, far))
    return total(podman, link)


def total(podman: Podman, link: VlessLink) -> int:
    """What the key of a link has used, counted now."""
    return int(json.loads(podman.ok("exec", _NAME, "vpnkeys", "traffic", "show", link.uuid, "--json"))["total_bytes"])
