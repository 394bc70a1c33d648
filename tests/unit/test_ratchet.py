"""The ratchet on speed: what is slower in every pair is found, noise and what got faster are not."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.bench import ratchet
from tests.bench.allowed import ALLOWED, AllowedError, project_version, read_allowed
from tests.bench.drive import FIGURES, SideError
from tests.bench.pairs import Pair, Verdict, noise_of
from tests.bench.trees import Commits, NoBaseError, Tree, check_import, choose_base, this_tree

ENTRY = {"figure": '"a"', "factor": "1.5", "why": '"simpler"', "until": '"0.2.0"'}


def pairs(*ratios: float) -> tuple[Pair, ...]:
    """Pairs with these ratios, on a machine that gets slower and slower."""
    return tuple(Pair(10.0 * number, 10.0 * number * ratio) for number, ratio in enumerate(ratios, 1))


@pytest.mark.parametrize(
    ("ratios", "is_slower"),
    [
        ((1.3, 1.3, 1.3, 1.3), True),
        ((1.2, 1.4, 1.25, 1.35), True),
        ((1.0, 1.0, 1.0, 1.0), False),
        ((0.7, 0.7, 0.7, 0.7), False),
        ((1.1, 1.1, 1.1, 1.1), False),  # too little to mean anything
        ((1.4, 1.4, 1.4, 0.99), False),  # one pair denies it
        ((1.05, 1.9, 1.2, 2.5), False),  # every pair is slower, one not by more than the noise
    ],
)
def test_slower_is_what_every_pair_says(ratios: tuple[float, ...], is_slower: bool) -> None:
    """By more than the noise, however the machine itself drifts."""
    verdict = Verdict(pairs(*ratios, *ratios))
    assert (verdict.is_suspect, verdict.is_slower) == (is_slower, is_slower)


@pytest.mark.parametrize(("count", "is_suspect", "is_slower"), [(2, False, False), (5, True, False), (6, True, True)])
def test_few_pairs_decide_nothing(count: int, is_suspect: bool, is_slower: bool) -> None:
    """Two do not even raise a suspicion."""
    verdict = Verdict(pairs(*[3.0] * count))
    assert (verdict.is_suspect, verdict.is_slower) == (is_suspect, is_slower)


def test_a_factor_allows_so_much_and_no_more() -> None:
    """The limit is that many times higher."""
    assert not Verdict(pairs(*[1.6] * 6), 1.5).is_slower
    assert Verdict(pairs(*[2.0] * 6), 1.5).is_slower


def test_noise_is_how_far_the_ratios_are_apart() -> None:
    """Nothing when they agree, whatever they say."""
    assert noise_of([1.3, 1.3, 1.3]) == 0
    assert noise_of([0.9, 1.0, 1.1]) == pytest.approx(0.2 / 3)


def is_found(chance: random.Random, change: float, spread: float) -> bool:
    """Whether a run finds a change by this factor, where two measurements of the same are so far apart."""

    def take(count: int) -> tuple[Pair, ...]:
        return tuple(Pair(1.0, change * chance.lognormvariate(0, spread)) for _ in range(count))

    first = take(ratchet.PAIRS)
    return Verdict(first).is_suspect and Verdict((*first, *take(ratchet.MORE_PAIRS))).is_slower


@pytest.mark.parametrize("spread", [0.05, 0.1, 0.2, 0.4])
def test_chance_finds_nothing(spread: float) -> None:
    """Of a thousand runs in which nothing changed at most two find a slower figure, however noisy the machine is."""
    chance = random.Random(14)  # noqa: S311 - no secret
    assert sum(is_found(chance, 1.0, spread) for _ in range(1000 * len(FIGURES))) <= 2


def test_noise_hides_no_slow_down_of_a_third() -> None:
    """Where two measurements of the same are 5 % apart, 990 of a thousand runs find it."""
    chance = random.Random(14)  # noqa: S311 - no secret
    assert sum(is_found(chance, 1.3, 0.05) for _ in range(1000)) >= 990


class FakeDuel:
    """Both services: a given ratio for each figure and round."""

    def __init__(self, ratios: dict[str, list[float]]) -> None:
        self._ratios = ratios
        self.asked: list[list[str]] = []

    def pairs(self, figures: list[str]) -> list[tuple[str, Pair]]:
        """The next ratio of each."""
        self.asked.append(figures)
        return [(name, Pair(1.0, self._ratios[name].pop(0) if name in self._ratios else 1.0)) for name in figures]


@pytest.mark.parametrize(("again", "code"), [([1.5] * 6, 1), ([1.5, 1.5, 1.5, 1.5, 1.5, 1.0], 0)])
def test_what_looks_slower_is_measured_again(capsys: pytest.CaptureFixture[str], again: list[float], code: int) -> None:
    """Only that, and all its pairs have to say the same."""
    name = "create"
    duel, record = FakeDuel({name: [1.5] * 6 + again}), ratchet.Record({})
    ratchet.compare(duel, record, ratchet.Budget())  # type: ignore[arg-type]  # in its place
    assert duel.asked == [list(FIGURES)] * 6 + [[name]] * 6
    assert ratchet.told(record) == code
    assert (f"SLOWER: {name}" in capsys.readouterr().out) is bool(code)


def test_a_run_that_was_cut_off_decides_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """It says which figures have too few pairs; one that looks slower is among them."""
    record = ratchet.Record({})
    record.pairs["create"] += pairs(9.0, 9.0)
    assert ratchet.told(record) == 0
    assert "Nothing is decided" in capsys.readouterr().out
    record.pairs["create"] += pairs(9.0)
    record.pairs["delete"] += pairs(1.0, 1.0, 1.0)
    assert ratchet.told(record) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("Undecided")]
    assert "create;" in line
    assert "delete" not in line.replace("create and delete", "")


def test_time_is_limited() -> None:
    """What runs longer is cut off."""
    with pytest.raises(ratchet.TimeIsUp), ratchet.limited(0.01):
        time.sleep(60)


@pytest.mark.parametrize(("failing", "code"), [("base", 0), ("this", 1)])
def test_a_side_that_cannot_be_measured(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], failing: str, code: int
) -> None:
    """An older interface of the base decides nothing; an error of this tree does."""
    trees = {name: Tree(name, Path(), sys.executable) for name in ("base", "this")}

    def start(base: Tree, this: Tree, target: object) -> object:
        raise SideError(trees[failing], RuntimeError("no such setting"))

    monkeypatch.setattr(ratchet, "base_tree", lambda base, directory: trees["base"])
    monkeypatch.setattr(ratchet, "this_tree", lambda directory: trees["this"])
    monkeypatch.setattr(ratchet, "Duel", start)
    assert ratchet.main(["--base", "older"]) == code
    said = capsys.readouterr().out
    assert f"{failing}: no such setting" in said
    assert ("Speed is not compared" in said) is (failing == "base")


@pytest.mark.parametrize(
    ("wanted", "merge_base", "parent", "base"),
    [
        ("v1", "fork", "parent", "v1"),
        ("", "fork", "parent", "fork"),
        ("", "head", "parent", "parent"),
        ("", None, "parent", "parent"),
    ],
)
def test_the_base_is_chosen(wanted: str, merge_base: str | None, parent: str, base: str) -> None:
    """What is asked for; else where the branch began; else the commit before."""
    assert choose_base(wanted, Commits("head", merge_base, parent)) == base


def test_a_first_commit_has_no_base() -> None:
    """Which is said."""
    with pytest.raises(NoBaseError, match="no commit before this one"):
        choose_base("", Commits("head", "head", None))


def test_an_unknown_base_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    """And decides nothing."""
    assert ratchet.main(["--base", "no-such-commit"]) == 0
    assert "cannot be measured: git" in capsys.readouterr().out


def test_a_trees_source_wins_over_the_installed_package(tmp_path: Path) -> None:
    """A Python with the tree in PYTHONPATH imports from there; without it that is noticed."""
    tree = this_tree(tmp_path)
    check_import(tree, {**os.environ, "PYTHONPATH": str(tree.source)}, tmp_path)
    without = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    with pytest.raises(RuntimeError, match="Python imports"):
        check_import(tree, without, tmp_path)


def entry(**changes: str | None) -> str:
    """An entry of allowed.toml; None leaves a field out."""
    fields = {name: value for name, value in {**ENTRY, **changes}.items() if value is not None}
    return "[[allowed]]\n" + "".join(f"{name} = {value}\n" for name, value in fields.items())


def test_what_is_allowed() -> None:
    """A factor for each figure, whole or not; the file that is there holds."""
    text = entry() + entry(figure='"b"', factor="2")
    assert read_allowed(text, ["a", "b"], "0.1.0") == {"a": 1.5, "b": 2.0}
    assert read_allowed("", ["a"], "0.1.0") == {}
    read_allowed(ALLOWED.read_text(encoding="utf-8"), FIGURES, project_version())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (entry(until='"0.1.0"'), "was allowed until version 0.1.0, and this is 0.1.0; remove it"),
        (entry(until='"0.0.9"'), "remove it"),
        (entry(until='"soon"'), "'soon' is not a version"),
        (entry(figure='"c"'), "there is no figure 'c'; there are: a, b"),
        (entry(factor="1"), "allows nothing"),
        (entry(factor="nan"), "allows nothing"),
        (entry(factor='"2"'), "factor = '2' is not a float"),
        (entry(factor="true"), "factor = True is not a float"),
        (entry(why='" "'), "say in `why`"),
        (entry(why=None), "needs exactly"),
        (entry(who='"me"'), "needs exactly"),
        (entry() + entry(), "twice"),
        ("[allow]", r"unknown \['allow'\]"),
        ("allowed = 3", "begins with"),
        ("[[allowed", "not TOML"),
    ],
)
def test_what_is_refused(text: str, message: str) -> None:
    """Each with what to change."""
    with pytest.raises(AllowedError, match=message):
        read_allowed(text, ["a", "b"], "0.1.0")


def test_the_table_tells_cost_ratio_and_noise() -> None:
    """A line for each figure."""
    line = ratchet.row("create", Verdict(pairs(1.0, 1.5, 1.25), 2.0))
    ratios = "1.00 1.50 1.25"
    assert line.split() == f"create 20.000 30.000 ms 1.25 ± 13% {ratios} (allowed: 2)".split()


def test_a_command_that_does_not_know_its_arguments() -> None:
    """Ends with 2, as commands do."""
    done = subprocess.run([sys.executable, "-m", "tests.bench.ratchet", "--record"], capture_output=True, check=False)
    assert done.returncode == 2
