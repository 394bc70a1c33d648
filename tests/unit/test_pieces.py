"""A config.json that a change of keys leads to is the one that is written as a whole."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.memory import SITE
from tests.unit.test_link import KEY

from vpnkeys.domain.inbound import ServerIdentity, desired_inbounds
from vpnkeys.domain.key import Key, Keys
from vpnkeys.domain.plan import FileStep, transition
from vpnkeys.domain.portpool import PortRange
from vpnkeys.xray.config.document import BaseConfig, merge
from vpnkeys.xray.config.file import ConfigFile
from vpnkeys.xray.config.pieces import JsonObject, Pieces, rendered

KEYS = tuple(replace(KEY, id=str(number), port=10_000 + number * 3 % 7) for number in range(1, 7))  # by age, not port
ONE, TWO, THREE, *_ = KEYS
DOCUMENTS: tuple[JsonObject, ...] = (
    {},
    {"inbounds": [], "dns": {"servers": ["1.1.1.1"]}},
    {"inbounds": [{"tag": "own", "port": 10_001}, {"tag": "\0"}], "routing": {"rules": [{"ruleTag": "own"}]}},
    {"outbounds": [{"tag": "own", "protocol": "freedom"}], "policy": {"levels": {"1": {"connIdle": 5}}}},
)


def file_in(directory: Path) -> ConfigFile:
    """A file that nobody checks."""
    base = BaseConfig("/api.sock", PortRange(10001, 10100), mark=2)
    return ConfigFile(directory / "config.json", base, lambda _path: None)


def step(before: Keys, after: Keys, site: ServerIdentity = SITE) -> FileStep:
    """What a change between these keys does to the file."""
    found = transition(before, after, {key.id for key in (*before, *after)}, site).file
    assert isinstance(found, FileStep)
    return found


def whole(file: ConfigFile, keys: Keys, site: ServerIdentity = SITE) -> JsonObject:
    """What the file has to hold for these keys, whatever is kept of it."""
    there = orjson.loads(file.path.read_bytes()) if file.path.exists() else {}
    return dict(orjson.loads(rendered(merge(there, file.base, desired_inbounds(keys, site)))))


def held(file: ConfigFile) -> JsonObject:
    """What it holds, in the form of every config.json."""
    content = file.path.read_bytes()
    assert content == rendered(orjson.loads(content))
    return dict(orjson.loads(content))


@given(st.sampled_from(DOCUMENTS), st.lists(st.sampled_from(KEYS), max_size=12))
def test_change_after_change(document: JsonObject, turned: list[Key]) -> None:
    """Whatever the operator has written, and in whatever order keys come and go."""
    with TemporaryDirectory(dir="/dev/shm") as directory:  # in memory, where a sync takes no time
        file, now = file_in(Path(directory)), Keys()
        file.path.write_bytes(orjson.dumps(document))
        for key in turned:
            after = now.changed([key.id], []) if key in now else now.changed([], [key])
            expected = whole(file, after)
            file.write(step(now, after))
            assert held(file) == expected
            now = after


def by_hand(file: ConfigFile) -> None:
    """An operator adds a section."""
    document = orjson.loads(file.path.read_bytes())
    file.path.write_bytes(orjson.dumps(document | {"observatory": {}}))


def with_another_base(file: ConfigFile) -> None:
    """What is around the inbounds becomes something else."""
    file.base = replace(file.base, mark=7)


@pytest.mark.parametrize("meddle", [by_hand, with_another_base, lambda file: file.path.unlink()])
def test_a_file_that_was_changed_meanwhile_is_written_as_a_whole(
    tmp_path: Path, meddle: Callable[[ConfigFile], None]
) -> None:
    """What is kept of it is kept of what was written, and of nothing else."""
    file, one, two = file_in(tmp_path), Keys([ONE]), Keys([ONE, TWO])
    file.write(step(Keys(), one))
    meddle(file)
    expected = whole(file, two)
    file.write(step(one, two))
    assert held(file) == expected


def test_a_change_of_other_keys_is_written_as_a_whole(tmp_path: Path) -> None:
    """A change that was not written leaves the file behind the keys; the next one brings it to all of them."""
    file, one, two, three = file_in(tmp_path), Keys([ONE]), Keys([ONE, TWO]), Keys([ONE, TWO, THREE])
    file.write(step(Keys(), one))
    file.write(step(two, three))
    assert held(file) == whole(file, three)


def test_a_key_that_was_stopped_without_the_file_leaves_it_with_the_next_change(tmp_path: Path) -> None:
    """As many keys as before, of which one does not work any more."""
    file, two, three = file_in(tmp_path), Keys([ONE, TWO]), Keys([replace(ONE, is_active=False), TWO])
    file.write(step(Keys(), two))
    file.write(step(three, Keys([*three, THREE])))
    assert held(file) == whole(file, Keys([TWO, THREE]))


def test_another_key_pair_is_in_all_inbounds(tmp_path: Path) -> None:
    """Not only in the one that changes."""
    file, one, two, site = file_in(tmp_path), Keys([ONE]), Keys([ONE, TWO]), replace(SITE, private_key="B" * 43)
    file.write(step(Keys(), one))
    file.write(step(one, two, site))
    assert held(file) == whole(file, two, site)


def test_a_write_that_fails_changes_nothing_that_is_kept(tmp_path: Path) -> None:
    """Neither does a draft that nobody writes."""
    file, one, two = file_in(tmp_path), Keys([ONE]), Keys([ONE, TWO])
    file.write(step(Keys(), one))
    file.draft(step(one, two))
    file.write(step(one, Keys([ONE, THREE])))
    assert held(file) == whole(file, Keys([ONE, THREE]))


def test_only_what_changes_is_rendered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many keys there are, and also after a change that is none of the file."""
    file, keys = file_in(tmp_path), Keys(replace(KEY, id=f"{n:04}", port=11_000 + n) for n in range(500))
    file.write(step(Keys(), keys))
    monkeypatch.setattr(Pieces, "of", None)
    keys = keys.changed([], [replace(keys[7], name="another", note="new")])
    for before, after in ((keys, keys.changed([], [ONE])), (keys.changed([], [ONE]), keys)):
        file.write(step(before, after))
        assert held(file) == whole(file, after)
