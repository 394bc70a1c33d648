"""What is deployed beside the server fits it: every metric that the dashboard and the alerts name is exported."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from vpnkeys.api.counts import Metrics
from vpnkeys.api.exposition import expose
from vpnkeys.cli.main import _COMMANDS
from vpnkeys.domain.traffic import Bytes
from vpnkeys.install import services
from vpnkeys.server.requests import Served
from vpnkeys.service.drift import DriftCount
from vpnkeys.service.health.vitals import NodeVitals, Vitals
from vpnkeys.settings import SYSTEM_DATA_DIR
from vpnkeys.worker import WorkerStatus

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
CONTAINERFILE = ROOT / "Containerfile"
DASHBOARD = DEPLOY / "grafana-dashboard.json"
ALERTS = DEPLOY / "prometheus-alerts.yml"

WELL = Vitals(
    is_database_up=True,
    is_xray_up=True,
    xray_restarts=1,
    keys={"active": 2},
    traffic=Bytes(1, 2),
    traffic_by_key={"id": Bytes(1, 2)},
    gaps=0,
    sampling_lag_s=1.5,
    drift=DriftCount(0, 0),
    targets={"a.example": True},
    names_ready=1,
    backup_age_s=60.0,
    certificate_expires_in_s=86400.0,
    workers=(WorkerStatus("sampler", 1.0, 30.0, False, None, ""),),
    problems=("disk_low",),
    connections=3,
    connections_refused=1,
    silent_ended=1,
    relayed=Bytes(1, 2),
    xray_descriptors=(40, 65536),
    nodes=(
        NodeVitals("local", "default", "up", 1, 9, Bytes(1, 2), 0, None, None, 0.1, None, None),
        NodeVitals("far", "eu", "silent", 2, 9, Bytes(3, 4), 1, 5.0, 20.0, None, -0.5, ("0.0.9", "26.2")),
    ),
)
UNKNOWN = Vitals(
    is_database_up=False,
    is_xray_up=False,
    xray_restarts=0,
    keys=None,
    traffic=Bytes(0, 0),
    traffic_by_key={},
    gaps=None,
    sampling_lag_s=None,
    drift=DriftCount(1, None),
    targets={},
    names_ready=0,
    backup_age_s=None,
    certificate_expires_in_s=None,
    workers=(),
)

OF_PROMETHEUS = {
    "abs", "avg", "by", "count", "histogram_quantile", "increase", "max", "min", "on", "rate", "sum", "topk", "unless",
    "up",
}  # fmt: skip
LABELS_OF_PROMETHEUS = {"instance", "job", "le"}


def scrape(vitals: Vitals) -> str:
    """What a server in this state says after one request."""
    metrics = Metrics(lambda: vitals, "26.3.27")
    metrics.count(Served("GET", "/health", 200, 0.001))
    return expose(metrics, "")[0].decode()


def exported() -> dict[str, set[str]]:
    """The names of all samples, with their labels."""
    lines = [line for line in scrape(WELL).splitlines() if not line.startswith("#")]
    found = [re.fullmatch(r"(\w+)(?:\{(.*)\})? \S+", line) for line in lines]
    return {one[1]: set(re.findall(r'(\w+)="', one[2] or "")) for one in found if one}


def dashboard() -> dict[str, Any]:
    """The dashboard."""
    found: dict[str, Any] = json.loads(DASHBOARD.read_text())
    return found


def alerts() -> list[dict[str, str]]:
    """The rules: name, expression, summary and command. YAML, of which this file uses little."""
    text = re.sub(
        r"expr: >-\n((?: {10}.*\n)+)", lambda match: f"expr: {' '.join(match[1].split())}\n", ALERTS.read_text()
    )
    rules = [f"- alert:{rule}" for rule in text.split("- alert:")[1:]]
    return [dict(re.findall(r"(alert|expr|summary|command): (.+)", rule)) for rule in rules]


def expressions() -> list[str]:
    """All PromQL of both files."""
    panels = [target["expr"] for panel in dashboard()["panels"] for target in panel.get("targets", ())]
    return [*panels, *(rule["expr"] for rule in alerts())]


def is_balanced(expression: str) -> bool:
    """Whether every bracket is closed by its like."""
    pairs = {")": "(", "]": "[", "}": "{"}
    opened: list[str] = []
    for char in re.sub(r'"[^"]*"', "", expression):
        if char in pairs.values():
            opened.append(char)
        elif char in pairs and (not opened or opened.pop() != pairs[char]):
            return False
    return not opened


@pytest.mark.parametrize("expression", expressions())
def test_every_name_in_every_expression_exists(expression: str) -> None:
    """Metrics are exported, with the labels that they are asked for; brackets are closed."""
    known = exported()
    assert is_balanced(expression)
    bare = re.sub(r"\{[^}]*\}|\[\d+[smhd]\]|\bby \([^)]*\)|\bon \([^)]*\)", "", expression)
    names = set(re.findall(r"[A-Za-z_]\w*", bare))
    assert names <= known.keys() | OF_PROMETHEUS
    metrics = names & known.keys()
    assert metrics or names & {"up"}
    asked = set(re.findall(r"(\w+)=~?\"", expression))
    asked |= {label for by in re.findall(r"\b(?:by|on) \(([^)]*)\)", expression) for label in re.findall(r"\w+", by)}
    assert asked <= LABELS_OF_PROMETHEUS.union(*(known[name] for name in metrics))


def test_a_made_up_name_would_be_seen() -> None:
    """The check above can fail."""
    for wrong in (
        "vpnkeys_no_such_thing > 1",
        'vpnkeys_keys{color="red"}',
        "sum(vpnkeys_keys",
        "sum by (color) (vpnkeys_keys)",
    ):
        with pytest.raises(AssertionError):
            test_every_name_in_every_expression_exists(wrong)


def test_all_that_is_measured_is_shown_or_watched() -> None:
    """But for the parts of histograms, and what only looks nice in other people's dashboards."""
    text = " ".join(expressions())
    ours = {name for name in exported() if name.startswith("vpnkeys_") and not name.endswith(("_sum", "_count"))}
    assert {name for name in ours if name not in text} == set()


def test_what_is_unknown_is_left_out() -> None:
    """Rather than a zero that looks like good news."""
    told = scrape(UNKNOWN)
    assert 'vpnkeys_drift{side="file"} 1.0' in told
    for name in (
        "sampling_lag_seconds",
        "backup_age_seconds",
        "certificate_expiry_seconds",
        "traffic_gaps_total",
        "keys{",
    ):
        assert f"\nvpnkeys_{name}" not in told
    assert 'side="runtime"' not in told
    assert "\nvpnkeys_database_up 0.0" in told


def test_every_alert_says_what_is_wrong_and_what_to_run() -> None:
    """Names are unique; what is to be run exists."""
    rules = alerts()
    assert len(rules) == ALERTS.read_text().count("- alert:") > 10
    assert all(rule.keys() == {"alert", "expr", "summary", "command"} for rule in rules)
    assert len({rule["alert"] for rule in rules}) == len(rules)
    for rule in rules:
        program, *arguments = rule["command"].split()
        assert program in {"vpnkeys", "journalctl"}
        assert program != "vpnkeys" or arguments[0] in _COMMANDS


def test_the_dashboard_can_be_imported() -> None:
    """Its data source is chosen at import, each panel has its own id and place, and nothing overlaps."""
    found = dashboard()
    assert found["__inputs"][0]["pluginId"] == "prometheus"
    assert found["id"] is None
    panels = found["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels) > 10
    places = [panel["gridPos"] for panel in panels]
    cells = [
        (x, y) for at in places for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24
    for panel in panels:
        assert panel["type"] == "row" or panel["datasource"] == {"type": "prometheus", "uid": "${DS_PROMETHEUS}"}


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool (Debian: prometheus) is not here")
def test_prometheus_itself_takes_them(tmp_path: Path) -> None:
    """The rules, the dashboard's expressions as rules, and the metrics."""
    rules = tmp_path / "rules.yml"
    shown = [{"record": "x", "expr": text, "labels": {"n": str(number)}} for number, text in enumerate(expressions())]
    rules.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": shown}]}))  # JSON is YAML
    for command, given in ((["rules", str(ALERTS), str(rules)], ""), (["metrics"], scrape(WELL))):
        done = subprocess.run(
            ["promtool", "check", *command], input=given, capture_output=True, text=True, check=False, timeout=60
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_the_image_is_made_of_what_is_let_in() -> None:
    """Everything that it copies exists and is let into the build, and nothing else is."""
    let_in = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = re.findall(r"^COPY (?!--)(.+) \S+$", CONTAINERFILE.read_text(), re.MULTILINE)
    assert {name for names in copied for name in names.split()} == let_in
    assert [name for name in let_in if not (ROOT / name).exists()] == []


def test_containers_have_the_places_and_rights_of_the_services() -> None:
    """The volume is where the data are; the compose file has the capabilities of the units, and those to leave root."""
    image, unit = CONTAINERFILE.read_text(), (services.PACKAGED / "vpnkeys.service").read_text()
    service = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]["vpnkeys"]
    assert f"VPNKEYS_DATA_DIR={SYSTEM_DATA_DIR}" in image
    assert f"VOLUME {SYSTEM_DATA_DIR}\n" in image
    assert service["volumes"] == [f"data:{SYSTEM_DATA_DIR}"]
    (needed,) = re.findall(r"^AmbientCapabilities=(.+)$", unit, re.MULTILINE)
    assert {f"CAP_{name}" for name in service["cap_add"]} >= set(needed.split())
    assert (service["network_mode"], service["user"], service["cap_drop"]) == ("host", "root", ["ALL"])
