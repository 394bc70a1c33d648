"""Every setting, its default, and what is said about a wrong one."""

import ast
from ipaddress import ip_network
from pathlib import Path

import pytest

import vpnkeys
from vpnkeys.default_address import default_address
from vpnkeys.domain.portpool import PortRange
from vpnkeys.domain.reached import Address
from vpnkeys.settings import (
    DEFAULT_RATE_LIMITS,
    SYSTEM_DATA_DIR,
    AllowedNetwork,
    Settings,
    SettingsError,
    data_dirs,
    load_settings,
)


def load(data_dir: Path, **given: str) -> Settings:
    """Settings of an environment with these, named without their prefix."""
    return load_settings(
        {"VPNKEYS_DATA_DIR": str(data_dir), **{f"VPNKEYS_{name}": value for name, value in given.items()}}
    )


def test_the_defaults(tmp_path: Path) -> None:
    """An empty environment is enough; an empty value is no value."""
    for found in (load(tmp_path), load(tmp_path, LISTEN="", API_KEY="", RATE_LIMITS="", XRAY_BIN="")):
        assert found.listen == Address("::", 8000)  # both protocols
        assert (found.domain, found.public_url, found.trusted_proxies) == ("", "", ())
        assert found.base_url == f"https://{default_address()}:8000"
        assert found.port_range == PortRange(10001, 10100)
        assert found.inbound_listen == "0.0.0.0"  # noqa: S104 - likewise
        assert found.server_address == default_address()
        assert found.database_url == f"sqlite:///{tmp_path}/vpnkeys.db"
        assert found.traffic_interval_s == 10
        assert found.reality_target == ""
        assert found.egress_allow == ()
        assert len(found.reality_server_names) > 1
        assert dict(found.rate_limits) == dict(DEFAULT_RATE_LIMITS)
        assert (found.api_key, found.tls_cert, found.tls_key) == (None, None, None)
        assert (found.xray_bin, found.xray_ca_file) == (None, None)


def test_the_data_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`data` where a command was started, absolute from then on; a server is also looked for in the system's."""
    monkeypatch.chdir(tmp_path)
    assert load_settings({}).data_dir == tmp_path / "data"
    assert load_settings({"VPNKEYS_DATA_DIR": "there"}).data_dir == tmp_path / "there"
    assert data_dirs({}) == (tmp_path / "data", SYSTEM_DATA_DIR)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("LISTEN", "127.0.0.1:9000", Address("127.0.0.1", 9000)),
        ("LISTEN", "[::]:8000", Address("::", 8000)),
        ("SERVER_ADDRESS", "vpn.example.com", "vpn.example.com"),
        ("OPERATOR_NAME", " Северное\tсияние ", "Северное сияние"),
        ("OPERATOR_NAME", "Мой VPN 👨\u200d👩\u200d👧", "Мой VPN 👨\u200d👩\u200d👧"),
        ("OPERATOR_NAME", "נורדליכט\u200f VPN", "נורדליכט\u200f VPN"),
        ("SUPPORT_URL", "tg://resolve?domain=lights", "tg://resolve?domain=lights"),
        ("SUPPORT_URL", "mailto:help@example.com", "mailto:help@example.com"),
        ("ANNOUNCEMENT", "🫨 \U0001fae9 \U0001fac8 tonight", "🫨 \U0001fae9 \U0001fac8 tonight"),
        ("ANNOUNCEMENT", "Tonight\nfrom 2 to 3", "Tonight from 2 to 3"),
        ("SERVER_ADDRESS", "[2001:db8::1]", "2001:db8::1"),
        ("SERVER_ADDRESS", "впн.example.com", "xn--b1awf.example.com"),
        ("DOMAIN", "VPN.Example.com.", "vpn.example.com"),
        ("DOMAIN", "пример.рф", "xn--e1afmkfd.xn--p1ai"),
        ("DOMAIN", "8.8.8.8", "8.8.8.8"),
        ("DOMAIN", "[2001:4860:4860::0:8888]", "2001:4860:4860::8888"),
        ("PUBLIC_URL", "https://vpn.example.com", "https://vpn.example.com"),
        ("PUBLIC_URL", "https://vpn.example.com:443/panel/", "https://vpn.example.com/panel"),
        ("PUBLIC_URL", "https://[2001:db8::1]:8443/a/b", "https://[2001:db8::1]:8443/a/b"),
        (
            "TRUSTED_PROXIES",
            "::ffff:127.0.0.1,::ffff:10.0.0.0/104",
            (ip_network("127.0.0.1"), ip_network("10.0.0.0/8")),
        ),
        ("TRUSTED_PROXIES", "127.0.0.1, 10.0.0.0/8,::1", tuple(map(ip_network, ("127.0.0.1", "10.0.0.0/8", "::1")))),
        ("ACME_DIRECTORY", "https://acme.example.com/dir", "https://acme.example.com/dir"),
        ("ACME_CA_FILE", "/ca.pem", Path("/ca.pem")),
        ("PORT_RANGE", "20000-20000", PortRange(20000, 20000)),
        ("PORT_RANGE", "1-65535", PortRange(1, 65535)),
        ("INBOUND_LISTEN", "::", "::"),
        ("INBOUND_LISTEN", "2001:DB8::0001", "2001:db8::1"),
        ("REALITY_SERVER_NAMES", " a.example , b.example,,a.example", ("a.example", "b.example")),
        ("REALITY_TARGET", "127.0.0.1:8443", "127.0.0.1:8443"),
        ("REALITY_TARGET", "[2001:db8::1]:443", "[2001:db8::1]:443"),
        ("REALITY_TARGET", "a_site:443", "a_site:443"),
        ("EGRESS_ALLOW", "10.0.0.7", (AllowedNetwork("10.0.0.7/32", None),)),
        (
            "EGRESS_ALLOW",
            "10.0.0.0/8:53, fd00::/8",
            (AllowedNetwork("10.0.0.0/8", 53), AllowedNetwork("fd00::/8", None)),
        ),
        ("EGRESS_ALLOW", "[::1]:80", (AllowedNetwork("::1/128", 80),)),
        ("XRAY_BIN", "/usr/bin/xray", Path("/usr/bin/xray")),
        ("XRAY_CA_FILE", "/ca.pem", Path("/ca.pem")),
        ("XRAY_SUPERVISOR", "systemd", "systemd"),
        ("DATABASE_URL", "postgresql://db/keys", "postgresql://db/keys"),
        ("TRAFFIC_INTERVAL_S", "0", 0),
        ("TRAFFIC_INTERVAL_S", "2.5", 2.5),
        ("RATE_LIMITS", "off", {}),
        ("RATE_LIMITS", "create=100/hour,list=0", {"create": "100/hour", "get": "60/minute"}),
    ],
)
def test_every_setting_can_be_given(tmp_path: Path, name: str, value: str, expected: object) -> None:
    """In the spellings that people use."""
    found = getattr(load(tmp_path, **{name: value}), name.lower())
    if isinstance(expected, dict):
        assert {key: found.get(key) for key in expected} == expected
        assert "list" not in found
    else:
        assert found == expected


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LISTEN", "8000"),
        ("LISTEN", "localhost:8000"),
        ("LISTEN", "0.0.0.0:0"),
        ("LISTEN", "0.0.0.0:65536"),
        ("API_KEY", "fifteen letters"),
        ("API_KEY", "ключключключключ"),
        ("API_KEY", " sixteen letters"),
        ("API_KEY", "sixteen letters "),
        ("API_KEY", "sixteen\nletters!"),
        ("API_KEY", "sixteen letters\x01"),
        ("SERVER_ADDRESS", "https://vpn.example.com"),
        ("SERVER_ADDRESS", "a b"),
        ("OPERATOR_NAME", "x" * 65),
        ("OPERATOR_NAME", "a\u202eb"),
        ("OPERATOR_NAME", "a\u2066b"),
        ("OPERATOR_NAME", "a\x07b"),
        ("OPERATOR_NAME", "a\x9bb"),
        ("ANNOUNCEMENT", "a\udcffb"),
        ("SUPPORT_URL", "javascript:alert(1)"),
        ("SUPPORT_URL", "https://a b"),
        ("ANNOUNCEMENT", "x" * 201),
        ("DOMAIN", "localhost"),
        ("DOMAIN", "10.0.0.5"),
        ("DOMAIN", "a.example.com,b.example.com"),
        ("DOMAIN", "-a.example.com"),
        ("DOMAIN", "a..example.com"),
        ("DOMAIN", "\u2024.example.com"),
        ("PUBLIC_URL", "http://vpn.example.com"),
        ("PUBLIC_URL", "vpn.example.com/panel"),
        ("PUBLIC_URL", "https://vpn.example.com/../panel"),
        ("PUBLIC_URL", "https://vpn.example.com/a//b"),
        ("PUBLIC_URL", "https://me@vpn.example.com"),
        ("PUBLIC_URL", "https://vpn.example.com/?x=1"),
        ("PUBLIC_URL", "https://vpn.example.com:0x50/"),
        ("TRUSTED_PROXIES", "nginx"),
        ("TRUSTED_PROXIES", "10.0.0.1/8"),
        ("ACME_DIRECTORY", "http://acme.example.com/dir"),
        ("PORT_RANGE", "10001"),
        ("PORT_RANGE", "10100-10001"),
        ("PORT_RANGE", "0-10"),
        ("PORT_RANGE", "1-65536"),
        ("INBOUND_LISTEN", "eth0"),
        ("REALITY_SERVER_NAMES", "Example.com"),
        ("REALITY_SERVER_NAMES", ","),
        ("REALITY_TARGET", "example.com"),
        ("REALITY_TARGET", ":443"),
        ("REALITY_TARGET", "::1:443"),
        ("REALITY_TARGET", "[::1:443"),
        ("REALITY_TARGET", "[x]:443"),
        ("REALITY_TARGET", "https://x:443"),
        ("REALITY_TARGET", "a b:443"),
        ("REALITY_TARGET", "example.com:0"),
        ("REALITY_TARGET", "example.com:65536"),
        ("EGRESS_ALLOW", "10.0.0.1/8"),
        ("EGRESS_ALLOW", "10.0.0.0/8:0"),
        ("EGRESS_ALLOW", "example.com"),
        ("XRAY_SUPERVISOR", "docker"),
        ("TRAFFIC_INTERVAL_S", "-1"),
        ("TRAFFIC_INTERVAL_S", "often"),
        ("RATE_LIMITS", "create=5"),
        ("RATE_LIMITS", "make=5/minute"),
        ("TLS_CERT", "/cert.pem"),
        ("DATABASE_URL", "mysql://db/keys"),
        ("NO_SUCH_THING", "1"),
    ],
)
def test_a_wrong_value_is_named(tmp_path: Path, name: str, value: str) -> None:
    """The variable is told by the name that the operator wrote, with what to give instead."""
    with pytest.raises(SettingsError, match=f"VPNKEYS_{name}") as refused:
        load(tmp_path, **{name: value})
    assert all(line.startswith("VPNKEYS_") for line in str(refused.value).splitlines())


def test_a_domain_is_the_address_for_all(tmp_path: Path) -> None:
    """Of links, of the dashboard and of subscriptions, unless another one is given; nothing is guessed then."""
    found = load(tmp_path, DOMAIN="vpn.example.com", LISTEN="[::]:443")
    assert (found.server_address, found.base_url) == ("vpn.example.com", "https://vpn.example.com")
    assert not found.guesses_address
    both = load(tmp_path, DOMAIN="vpn.example.com", SERVER_ADDRESS="203.0.113.7", PUBLIC_URL="https://a.example.com/b")
    assert (both.server_address, both.base_url) == ("203.0.113.7", "https://a.example.com/b")
    with pytest.raises(SettingsError, match="give one of them"):
        load(tmp_path, DOMAIN="vpn.example.com", TLS_CERT="/c", TLS_KEY="/k")


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    """Nobody should have to start five times to find five faults."""
    with pytest.raises(SettingsError) as refused:
        load(tmp_path, LISTEN="x", PORT_RANGE="y", TLS_KEY="/k", RATE_LIMIT="5", API_KEY="short")
    told = str(refused.value)
    for name in ("LISTEN", "PORT_RANGE", "TLS_KEY", "RATE_LIMIT", "API_KEY"):
        assert f"VPNKEYS_{name}" in told
    assert "short" not in told.replace("shorter", "")


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    """The file is read beside it; a `$` in it is a `$`."""
    (tmp_path / "vpnkeys.env").write_text(
        "# a comment\nVPNKEYS_PORT_RANGE=1-2\nVPNKEYS_LISTEN='127.0.0.1:1'\nVPNKEYS_API_KEY=\"${HOME} and 16 more\"\n"
    )
    found = load(tmp_path, PORT_RANGE="3-4")
    assert found.port_range == PortRange(3, 4)
    assert found.listen == Address("127.0.0.1", 1)
    assert found.api_key is not None
    assert found.api_key.get_secret_value() == "${HOME} and 16 more"


@pytest.mark.parametrize("name", ["VPNKEYS_LISTENS", "VPNKEYS_listen", "LISTEN", "PATH"])
def test_unknown_names_in_the_file_are_faults(tmp_path: Path, name: str) -> None:
    """The file is ours alone, so whatever stands there should mean something."""
    (tmp_path / "vpnkeys.env").write_text(f"{name}=127.0.0.1:1\n")
    with pytest.raises(SettingsError, match=name):
        load(tmp_path)


def test_other_programs_variables_are_none_of_ours(tmp_path: Path) -> None:
    """Only names with our prefix are looked at."""
    found = load_settings({"VPNKEYS_DATA_DIR": str(tmp_path), "LISTEN": "x", "PATH": "/bin"})
    assert found == load(tmp_path)


@pytest.mark.parametrize("end", ["", "\r", "\n", " "])
def test_the_end_of_a_line_is_no_part_of_the_api_key(tmp_path: Path, end: str) -> None:
    """As a file of another system would bring: no client could send it."""
    found = load_settings({"VPNKEYS_DATA_DIR": str(tmp_path), "VPNKEYS_API_KEY": f"{'k' * 20}{end}"})
    assert found.api_key is not None
    assert found.api_key.get_secret_value() == "k" * 20


def test_the_api_key_is_not_printed(tmp_path: Path) -> None:
    """Settings may be logged."""
    assert "sixteen or more letters" not in repr(load(tmp_path, API_KEY="sixteen or more letters"))


# What is passed on to programs that are started, what shells and terminals say, and where a user's caches are.
_NO_SETTINGS = {
    "cli/output/qr.py",
    "cli/main.py",
    "install/host.py",
    "owner.py",
    "store/transfer/programs.py",
    "xray/process/binary.py",
    "xray/process/gobuild.py",
    "xray/process/launch.py",
}


def test_settings_are_read_in_one_place() -> None:
    """So that each is explained once, checked once, and found in one file."""
    package = Path(vpnkeys.__file__).parent
    readers = {path.relative_to(package).as_posix() for path in package.rglob("*.py") if _reads_environment(path)}
    assert readers == {"settings.py", *_NO_SETTINGS}


def _reads_environment(path: Path) -> bool:
    return any(
        isinstance(node, ast.Attribute) and node.attr in {"environ", "getenv", "environb"}
        for node in ast.walk(ast.parse(path.read_text()))
    )
