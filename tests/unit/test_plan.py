"""The plan: right, and nothing more than right."""

from dataclasses import replace
from typing import Any

from hypothesis import event, given
from hypothesis import strategies as st
from tests.strategies import altered, desired_states, foreign_inbounds, inbounds, key_lists, observed_states, sites

from vpnkeys.domain.inbound import AnyInbound, ForeignInbound, Inbound, ServerIdentity, desired_inbounds
from vpnkeys.domain.key import Key, Keys
from vpnkeys.domain.plan import (
    FileState,
    FileView,
    Observed,
    Plan,
    RunningView,
    _access,
    compare,
    differences,
    file_is_right,
    plan,
    running_drift,
    transition,
)


@st.composite
def situations(draw: st.DrawFn) -> tuple[tuple[Inbound, ...], Observed]:
    """What should be, and what is."""
    desired = draw(desired_states())
    return desired, draw(observed_states(desired))


def applied(todo: Plan, observed: Observed) -> Observed:
    """Carry a plan out naively."""
    file = observed.file
    if todo.file is not None:
        foreign = file.foreign if file.state is FileState.OK else ()
        file = FileView(FileState.OK, {inbound.tag: inbound for inbound in todo.file}, foreign)
    if observed.running is None:
        return Observed(file, None)
    running = dict(observed.running.inbounds)
    for tag in todo.remove:
        del running[tag]
    for inbound in todo.add:
        assert inbound.tag not in running, "an inbound that is there cannot be added"
        running[inbound.tag] = inbound
    return Observed(file, RunningView(running, observed.running.epoch))


def ours(observed: Observed) -> dict[str, AnyInbound]:
    """What runs and is not the operator's own."""
    assert observed.running is not None
    foreign = {inbound.tag for inbound in observed.file.foreign}
    return {tag: inbound for tag, inbound in observed.running.inbounds.items() if tag not in foreign}


@given(key_lists(max_size=6), sites, st.data())
def test_a_change_is_planned_as_if_all_keys_were_compared(
    keys: list[Key],
    site: ServerIdentity,
    data: Any,  # noqa: ANN401 - draws of several types
) -> None:
    """Keys that stay as they are have no part in it."""
    new = data.draw(st.integers(0, len(keys)))
    before = Keys.of(keys[new:])
    gone = [key.id for key in before if data.draw(st.booleans())]
    stayed = [key for key in before if key.id not in gone]
    turned = [replace(key, is_active=not key.is_active) for key in stayed if data.draw(st.booleans())]
    after = before.changed(gone, [*turned, *keys[:new]])
    was, wanted = desired_inbounds(before, site), desired_inbounds(after, site)
    running = RunningView({inbound.tag: inbound for inbound in was}, "")
    todo = transition(before, after, [*gone, *(key.id for key in (*turned, *keys[:new]))], site)
    compared = plan(wanted, Observed(FileView(FileState.OK, dict(running.inbounds)), running))
    assert replace(todo, file=None) == replace(compared, file=None)
    assert (todo.file is None) == (compared.file is None)
    assert todo.file is None or tuple(todo.file) == wanted


@given(situations())
def test_a_plan_leads_to_what_should_be(situation: tuple[tuple[Inbound, ...], Observed]) -> None:
    """Whatever has drifted: afterwards file and Xray are as wanted, and there is nothing more to do."""
    desired, observed = situation
    todo = plan(desired, observed)
    event(f"something to do: {bool(todo)}")
    after = applied(todo, observed)
    wanted = {inbound.tag: inbound for inbound in desired}
    assert after.file.state is FileState.OK
    assert after.file.base_ok
    assert after.file.inbounds == wanted
    if after.running is not None:
        assert ours(after) == wanted
    assert not plan(desired, after)


@given(situations())
def test_what_is_right_is_not_touched(situation: tuple[tuple[Inbound, ...], Observed]) -> None:
    """Nobody loses a connection, and no file is written, for something that is as it should be."""
    desired, observed = situation
    todo = plan(desired, observed)
    wanted = {inbound.tag: inbound for inbound in desired}
    running = observed.running.inbounds if observed.running else {}
    right = {tag for tag, inbound in running.items() if wanted.get(tag) == inbound}
    assert right.isdisjoint(todo.remove)
    assert right.isdisjoint(inbound.tag for inbound in todo.add)
    assert len(set(todo.remove)) == len(todo.remove)
    assert (todo.file is None) == (
        observed.file.state is FileState.OK and observed.file.base_ok and observed.file.inbounds == wanted
    )


@given(situations())
def test_only_those_are_cut_who_may_not_be_there(situation: tuple[tuple[Inbound, ...], Observed]) -> None:
    """A port is cut when an inbound leaves it whose links are no longer right there, and only then."""
    desired, observed = situation
    todo = plan(desired, observed)
    running = observed.running.inbounds if observed.running else {}
    entitled = {_access(inbound) for inbound in desired}
    leaving = [running[tag] for tag in todo.remove if running[tag].port is not None]
    assert set(todo.cut) == {inbound.port for inbound in leaving if _access(inbound) not in entitled}
    assert list(todo.cut) == sorted(set(todo.cut))


@given(situations())
def test_the_operators_own_are_kept(situation: tuple[tuple[Inbound, ...], Observed]) -> None:
    """A foreign inbound that config.json names is never removed, cut or counted as drift."""
    desired, observed = situation
    foreign = {inbound.tag for inbound in observed.file.foreign}
    assert foreign.isdisjoint(plan(desired, observed).remove)
    drift = running_drift(desired, observed)
    assert drift is None or foreign.isdisjoint(drift.extra)


@given(situations())
def test_while_xray_is_down_only_the_file_is_repaired(situation: tuple[tuple[Inbound, ...], Observed]) -> None:
    """What runs is not known, so nothing is done to it, and its drift is not known either."""
    desired, observed = situation
    down = replace(observed, running=None)
    todo = plan(desired, down)
    assert (todo.remove, todo.cut, todo.add) == ((), (), ())
    assert running_drift(desired, down) is None
    assert (todo.file is None) == file_is_right(desired, down.file)


@given(desired_states(), st.lists(foreign_inbounds, max_size=2, unique_by=lambda inbound: inbound.tag))
def test_nothing_to_do_is_no_plan(desired: tuple[Inbound, ...], foreign: list[ForeignInbound]) -> None:
    """In sync means an empty plan and no drift, foreign inbounds or not."""
    right: dict[str, AnyInbound] = {inbound.tag: inbound for inbound in desired}
    running = {**right, **{inbound.tag: inbound for inbound in foreign}}
    observed = Observed(FileView(FileState.OK, right, tuple(foreign)), RunningView(running, "life-1"))
    assert not plan(desired, observed)
    assert plan(desired, observed) == Plan()
    assert not running_drift(desired, observed)


@given(st.lists(inbounds(), min_size=2, max_size=3, unique_by=lambda inbound: inbound.tag), inbounds())
def test_drift_is_told_by_tag(desired: list[Inbound], stranger: Inbound) -> None:
    """Missing, too many, different: each tag stands in exactly one of the three, those that are right in none."""
    first, *right, last = desired
    stranger = replace(stranger, tag="key-stranger")
    actual: dict[str, AnyInbound] = {inbound.tag: inbound for inbound in [*right, stranger]}
    actual[last.tag] = ForeignInbound(last.tag, last.port)
    drift = compare(desired, actual)
    assert (drift.missing, drift.extra, drift.different) == ((first.tag,), (stranger.tag,), (last.tag,))
    assert drift
    assert not compare(desired, {inbound.tag: inbound for inbound in desired})


@given(inbounds(), st.data())
def test_differences_are_named(inbound: Inbound, data: st.DataObject) -> None:
    """What differs is told in the words of config.json, at least one of them; nothing of what does not."""
    assert differences(inbound, inbound) == ()
    assert differences(inbound, data.draw(altered(inbound)))
    assert differences(inbound, replace(inbound, port=70000)) == ("port",)
    other = replace(inbound.reality, target="other.example:443", short_ids=("f" * 16, "e" * 16))
    assert differences(inbound, replace(inbound, reality=other)) == ("shortIds", "target")


def test_any_part_makes_a_plan() -> None:
    """An empty list of inbounds for the file is something to do; nothing at all is not."""
    assert not Plan()
    assert Plan(file=())
    assert Plan(remove=("key-1",))
    assert Plan(cut=(10001,))
    assert Plan(add=(Inbound("t", "::", 1, (), None),))  # type: ignore[arg-type] # what is in it does not matter


@given(desired_states().filter(lambda desired: any(inbound.port for inbound in desired)), st.data())
def test_who_stays_entitled_stays_connected(desired: tuple[Inbound, ...], data: st.DataObject) -> None:
    """The same link on the same port: its inbound is replaced, say for another target, without a cut."""
    before = data.draw(st.sampled_from([inbound for inbound in desired if inbound.port]))
    changed = replace(before, reality=replace(before.reality, target="other.example:443"))
    wanted = tuple(changed if inbound == before else inbound for inbound in desired)
    running: dict[str, AnyInbound] = {inbound.tag: inbound for inbound in desired}
    todo = plan(wanted, Observed(FileView(FileState.OK, running), RunningView(running, "life-1")))
    assert todo == Plan(file=wanted, remove=(before.tag,), cut=(), add=(changed,))


@given(
    desired_states().filter(lambda desired: any(inbound.port for inbound in desired)),
    st.data(),
    st.sampled_from(["short_id", "server_name"]),
)
def test_who_has_an_old_link_is_cut(desired: tuple[Inbound, ...], data: st.DataObject, part: str) -> None:
    """With another short id or server name the link is another one, and whoever came by the old one is out."""
    before = data.draw(st.sampled_from([inbound for inbound in desired if inbound.port]))
    other_id, other_name = (
        replace(before.reality, short_ids=("f" * 16,)),
        replace(before.reality, server_names=("other.example",)),
    )
    changed = replace(before, reality=other_id if part == "short_id" else other_name)
    wanted = tuple(changed if inbound == before else inbound for inbound in desired)
    running: dict[str, AnyInbound] = {inbound.tag: inbound for inbound in desired}
    todo = plan(wanted, Observed(FileView(FileState.OK, running), RunningView(running, "life-1")))
    assert todo == Plan(file=wanted, remove=(before.tag,), cut=(before.port or 0,), add=(changed,))


@given(desired_states().filter(lambda desired: any(inbound.port for inbound in desired)), st.data())
def test_who_moves_is_cut_on_the_old_port(desired: tuple[Inbound, ...], data: st.DataObject) -> None:
    """Nobody may stay on a port that will be another key's; the others notice nothing."""
    before = data.draw(st.sampled_from([inbound for inbound in desired if inbound.port]))
    moved = replace(before, port=20000)
    wanted = tuple(moved if inbound == before else inbound for inbound in desired)
    running: dict[str, AnyInbound] = {inbound.tag: inbound for inbound in desired}
    todo = plan(wanted, Observed(FileView(FileState.OK, running), RunningView(running, "life-1")))
    assert todo == Plan(file=wanted, remove=(before.tag,), cut=(before.port or 0,), add=(moved,))
