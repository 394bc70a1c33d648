"""Which file Xray is started with: config.json, and after quick exits one with less, which customers get in by."""

import os
import socket
import stat
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import orjson
import pytest
from tests.support.ports import reserve_range
from tests.unit.test_config import inbound_of

from vpnkeys.domain.errors import ConfigRefused
from vpnkeys.domain.portpool import PortRange
from vpnkeys.xray.config.check import ConfigUntested
from vpnkeys.xray.config.document import BaseConfig, merge
from vpnkeys.xray.config.pieces import render_inbound
from vpnkeys.xray.config.start import ChosenFile, StartFile

Json = dict[str, Any]
FOREIGN = {"tag": "mine", "port": 1080, "protocol": "socks"}


@dataclass(slots=True)
class Scene:
    """A config.json of two keys and one section of the operator's own."""

    path: Path
    ports: range = field(default_factory=lambda: reserve_range(2))
    said: list[str] = field(default_factory=list)
    refuses: Callable[[Json], type[ConfigRefused] | None] = lambda _: None
    right: Json = field(init=False)
    ours: Json = field(init=False)
    start: StartFile = field(init=False)

    def __post_init__(self) -> None:
        """Write it."""
        base = BaseConfig("/run/api.sock", PortRange(self.ports[0], self.ports[-1]))
        inbounds = [replace(inbound_of(port), tag=f"key-{port}") for port in self.ports]
        self.ours = merge({}, base, inbounds)
        self.right = {**self.ours, "inbounds": [*self.ours["inbounds"], FOREIGN]}
        self.put(self.right)
        self.start = StartFile(self.path, lambda _: base, self._check, self.said.append)

    def put(self, document: Json) -> None:
        """By hand."""
        self.path.write_bytes(orjson.dumps(document))

    def chosen(self, quick_exits: int) -> Json:
        """What is in the file that is chosen."""
        return self.chosen_or_bare(quick_exits)[0]

    def chosen_or_bare(self, quick_exits: int) -> tuple[Json, bool]:
        """What is in the file that is chosen, and whether it lacks the operator's sections."""
        chosen = self.start.choose(quick_exits)
        return orjson.loads(chosen.path.read_bytes()), chosen.is_bare

    def path_of(self, quick_exits: int) -> Path:
        """Where the file is that is chosen."""
        return self.start.choose(quick_exits).path

    def _check(self, path: Path) -> None:
        if error := self.refuses(orjson.loads(path.read_bytes())):
            raise error("no such protocol")


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    """Xray refuses nothing."""
    return Scene(tmp_path / "config.json")


def test_at_first_it_is_config_json_itself(scene: Scene) -> None:
    """Whatever is in it: Xray is not asked before, as customers wait."""
    assert scene.path_of(0) == scene.path
    scene.path.write_text("{")
    assert (scene.path_of(0), scene.path_of(3)) == (scene.path, scene.path)
    scene.path.unlink()
    assert scene.path_of(3) == scene.path
    assert scene.said == []


def test_after_a_quick_exit_what_cannot_listen_is_left_out(scene: Scene) -> None:
    """All else stays, and config.json as it is; nothing is left out that can listen."""
    before = scene.path.read_bytes()
    assert scene.chosen(1) == scene.right
    with socket.create_server(("127.0.0.1", scene.ports[0])):
        assert scene.chosen(1)["inbounds"] == [scene.right["inbounds"][0], *scene.right["inbounds"][2:]]
    assert scene.path.read_bytes() == before
    assert not scene.start.choose(1).is_bare


def test_our_own_sections_are_put_right(scene: Scene) -> None:
    """A damaged API or a tag that stands twice would keep Xray from starting; the operator's own stay."""
    api, one, other, mine = scene.right["inbounds"]
    scene.put({**scene.right, "api": {}, "inbounds": [one, other, mine, other, {"tag": "key-odd", "port": "x"}]})
    assert scene.chosen(1) == {**scene.right, "inbounds": [api, one, mine]}


def test_sections_that_xray_refuses_are_left_out(scene: Scene) -> None:
    """Not from config.json, and only while they are refused; a test that cannot be run says nothing."""
    before = scene.path.read_bytes()
    scene.refuses = lambda document: ConfigRefused if FOREIGN in document["inbounds"] else None
    assert scene.chosen_or_bare(1) == (scene.ours, True)
    assert "no such protocol" in scene.said[0]
    assert scene.path.read_bytes() == before
    scene.refuses = lambda _: ConfigUntested
    assert scene.chosen_or_bare(1) == (scene.right, False)


def test_a_third_quick_exit_is_put_down_to_them_too(scene: Scene) -> None:
    """What no test finds, as a port that is taken, keeps no customer out."""
    assert scene.chosen_or_bare(2) == (scene.right, False)
    assert scene.chosen_or_bare(3) == (scene.ours, True)


def test_a_disk_that_takes_no_write_is_not_needed(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is in memory then, each time a whole one."""

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    path = scene.path_of(1)
    assert path.is_relative_to("/proc")
    assert orjson.loads(path.read_bytes()) == scene.right
    assert scene.path_of(3) == path
    assert orjson.loads(path.read_bytes()) == scene.ours
    assert stat.S_ISREG(path.stat().st_mode)
    assert [entry.name for entry in scene.path.parent.iterdir()] == ["config.json"]


def test_what_is_not_wanted_is_left_out_of_each_start(scene: Scene) -> None:
    """As keys that were stopped while the disk was full; the operator's own stays, and so does config.json."""
    inbounds = [replace(inbound_of(port), tag=f"key-{port}") for port in scene.ports]
    scene.start.wanted = lambda: inbounds
    assert scene.path_of(0) == scene.path
    scene.start.wanted = lambda: inbounds[1:]
    tags = [f"key-{scene.ports[1]}", "mine"]
    for quick_exits in (0, 1):
        assert [one["tag"] for one in scene.chosen(quick_exits)["inbounds"][1:]] == tags
    scene.start.wanted = lambda: [replace(inbounds[0], clients=()), inbounds[1]]
    assert [one["tag"] for one in scene.chosen(0)["inbounds"][1:]] == tags
    assert orjson.loads(scene.path.read_bytes()) == scene.right
    scene.start.wanted = lambda: None
    assert scene.path_of(0) == scene.path


@pytest.mark.parametrize("spoilt", ["{", None])
def test_without_a_config_json_it_is_what_is_wanted(scene: Scene, spoilt: str | None) -> None:
    """After a quick exit, as the server may have written the file anew by then; what cannot listen is left out."""
    inbounds = [replace(inbound_of(port), tag=f"key-{port}") for port in scene.ports]
    scene.start.wanted = lambda: inbounds
    scene.path.unlink() if spoilt is None else scene.path.write_text(spoilt)
    assert scene.start.choose(0) == ChosenFile(scene.path)
    assert sorted_tags(scene.chosen(1)) == sorted_tags(scene.ours)
    assert not scene.start.choose(1).is_bare
    assert "config.json cannot be read" in scene.said[0]
    with socket.create_server(("127.0.0.1", scene.ports[0])):
        assert f"key-{scene.ports[0]}" not in sorted_tags(scene.chosen(2))
    assert scene.path.exists() == (spoilt is not None)


def sorted_tags(document: Json) -> list[str]:
    """Return the tags of the inbounds: their order says nothing."""
    return sorted(inbound["tag"] for inbound in document["inbounds"])


def test_after_a_quick_exit_xray_starts_without_doors(tmp_path: Path) -> None:
    """One may be why, whatever Xray's own test says; the server adds them when Xray answers."""
    scene = Scene(tmp_path / "config.json")
    door = replace(inbound_of(scene.ports[0]), tag="vpnkeys-door-in")
    scene.put({**scene.right, "inbounds": [*scene.right["inbounds"], render_inbound(door)]})
    assert "vpnkeys-door-in" in sorted_tags(scene.chosen(0))
    assert sorted_tags(scene.chosen(1)) == sorted_tags(scene.right)


def test_a_stopped_key_is_left_out_of_doors_too(tmp_path: Path) -> None:
    """Its client by its account; the others stay, and a door without any is left out."""
    scene = Scene(tmp_path / "config.json")
    first, second = (replace(inbound_of(port), tag=f"key-{port}") for port in scene.ports)
    first, second = (
        replace(one, clients=(replace(one.clients[0], uuid=uuid, email=uuid),))
        for one, uuid in (
            (first, "0ca2b2d8-5f6c-4e0c-9d3d-2a4a1b7f9a11"),
            (second, "0ca2b2d8-5f6c-4e0c-9d3d-2a4a1b7f9a12"),
        )
    )
    both = replace(inbound_of(scene.ports[0]), tag="vpnkeys-door-both", clients=(*first.clients, *second.clients))
    alone = replace(both, tag="vpnkeys-door-alone", clients=first.clients)
    scene.put(merge({}, scene.start.base_for({}), [first, second, both, alone]))
    scene.start.stopped = lambda: [first.tag]
    chosen = {one["tag"]: one["settings"].get("clients", []) for one in scene.chosen(0)["inbounds"]}
    assert first.tag not in chosen
    assert "vpnkeys-door-alone" not in chosen
    assert [client["id"] for client in chosen["vpnkeys-door-both"]] == [second.clients[0].uuid]
