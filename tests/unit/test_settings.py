"""Every setting, its default, and what is said about a wrong one."""

import ast
from pathlib import Path

import pytest

import vpnkeys
from vpnkeys.domain.portpool import PortRange
from vpnkeys.settings import (
    DEFAULT_RATE_LIMITS,
    SYSTEM_DATA_DIR,
    Address,
    AllowedNetwork,
    Settings,
    SettingsError,
    default_address,
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
        assert found.listen == Address("0.0.0.0", 8000)  # noqa: S104 - the contract's default
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
    """`data` where the service was started, or the system's for an installed one; absolute from then on."""
    monkeypatch.chdir(tmp_path)
    assert load_settings({}).data_dir == tmp_path / "data"
    assert load_settings({"VPNKEYS_DATA_DIR": "there"}).data_dir == tmp_path / "there"
    assert load_settings({}, is_root_install=True).data_dir == SYSTEM_DATA_DIR


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("LISTEN", "127.0.0.1:9000", Address("127.0.0.1", 9000)),
        ("LISTEN", "[::]:8000", Address("::", 8000)),
        ("SERVER_ADDRESS", "vpn.example.com", "vpn.example.com"),
        ("SERVER_ADDRESS", "[2001:db8::1]", "2001:db8::1"),
        ("PORT_RANGE", "20000-20000", PortRange(20000, 20000)),
        ("PORT_RANGE", "1-65535", PortRange(1, 65535)),
        ("INBOUND_LISTEN", "::", "::"),
        ("INBOUND_LISTEN", "2001:DB8::0001", "2001:db8::1"),
        ("REALITY_SERVER_NAMES", " a.example , b.example,,a.example", ("a.example", "b.example")),
        ("REALITY_TARGET", "127.0.0.1:8443", "127.0.0.1:8443"),
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
        ("SERVER_ADDRESS", "https://vpn.example.com"),
        ("SERVER_ADDRESS", "a b"),
        ("PORT_RANGE", "10001"),
        ("PORT_RANGE", "10100-10001"),
        ("PORT_RANGE", "0-10"),
        ("PORT_RANGE", "1-65536"),
        ("INBOUND_LISTEN", "eth0"),
        ("REALITY_SERVER_NAMES", "Example.com"),
        ("REALITY_SERVER_NAMES", ","),
        ("REALITY_TARGET", "example.com"),
        ("REALITY_TARGET", ":443"),
        ("EGRESS_ALLOW", "10.0.0.1/8"),
        ("EGRESS_ALLOW", "10.0.0.0/8:0"),
        ("EGRESS_ALLOW", "example.com"),
        ("XRAY_SUPERVISOR", "docker"),
        ("TRAFFIC_INTERVAL_S", "-1"),
        ("TRAFFIC_INTERVAL_S", "often"),
        ("RATE_LIMITS", "create=5"),
        ("RATE_LIMITS", "make=5/minute"),
        ("TLS_CERT", "/cert.pem"),
        ("NO_SUCH_THING", "1"),
    ],
)
def test_a_wrong_value_is_named(tmp_path: Path, name: str, value: str) -> None:
    """The variable is told by the name that the operator wrote, with what to give instead."""
    with pytest.raises(SettingsError, match=f"VPNKEYS_{name}"):
        load(tmp_path, **{name: value})


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


def test_the_api_key_is_not_printed(tmp_path: Path) -> None:
    """Settings may be logged."""
    assert "sixteen or more letters" not in repr(load(tmp_path, API_KEY="sixteen or more letters"))


# What is passed on to programs that are started, what shells and terminals say, and where a user's caches are.
_NO_SETTINGS = {
    "cli/commands/links.py",
    "cli/main.py",
    "install/host.py",
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
