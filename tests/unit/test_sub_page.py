"""The page of a customer: whatever a name is made of, it is text there."""

from dataclasses import replace
from datetime import datetime
from html.parser import HTMLParser

import pytest
from hypothesis import given
from tests.strategies import keys
from tests.unit.test_link import KEY, site

from vpnkeys.api.pages.sub_page import POLICY, Access, render_page
from vpnkeys.api.pages.sub_words import ENGLISH, RUSSIAN, Words, words_for
from vpnkeys.domain.key import Key
from vpnkeys.domain.limits import Limits, Status, Window
from vpnkeys.domain.link import render_link

ADDRESS = "https://203.0.113.7:8000/sub/token"
HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "</title><svg onload=alert(1)>",
    "</style><script>alert(1)</script>",
    "&lt;b&gt; &amp; $name ${style} $$ {} {0} %s",
    "javascript:alert(1)",
    "--><script>alert(1)</script><!--",
    "\u202egnp.exe",
)


class Markup(HTMLParser):
    """The elements of a page by name, their attributes, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.texts: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """One element."""
        self.elements.append(tag)
        self.attributes += ((tag, name, value or "") for name, value in attrs)

    def handle_data(self, data: str) -> None:
        """A piece of text."""
        self.texts.append(data)

    def of(self, tag: str, name: str) -> list[str]:
        """The values of an attribute."""
        return [value for element, attribute, value in self.attributes if (element, attribute) == (tag, name)]


def page(key: Key, used_bytes: int = 0, words: Words = ENGLISH) -> Markup:
    """A key's page."""
    return Markup(render_page(Access(key, render_link(key, site()), ADDRESS, used_bytes), words))


@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_is_text_and_never_markup(name: str) -> None:
    """The page has the elements and attributes that it has with any name, and shows this one as it is."""
    plain, hostile = page(KEY), page(replace(KEY, name=name))
    assert hostile.elements == plain.elements
    assert [place[:2] for place in hostile.attributes] == [place[:2] for place in plain.attributes]
    assert hostile.texts.count(name) == 2  # title and heading


@given(key=keys())
def test_any_page_has_no_script_and_nothing_from_elsewhere(key: Key) -> None:
    """No handler, no inline style that the policy would refuse, no address but those of apps."""
    for words in (ENGLISH, RUSSIAN):
        found = page(key, 7, words)
        assert not {"script", "iframe", "object", "link", "img", "base", "form"} & set(found.elements)
        names = {name for _, name, _ in found.attributes}
        assert not [name for name in names if name.startswith("on") or name in {"style", "src", "action"}]
        schemes = {place.partition(":")[0] for place in found.of("a", "href")}
        assert schemes <= {"vless", "hiddify", "sing-box", "clash"}


def test_the_link_can_be_taken_in_three_ways() -> None:
    """By camera, by a touch, and by copying; the address of the subscription stands below."""
    found = page(KEY)
    link = render_link(KEY, site())
    assert link in found.texts
    assert link in found.of("a", "href")
    assert ADDRESS in found.texts
    assert "path" in found.elements
    assert f"hiddify://import/https%3A%2F%2F203.0.113.7%3A8000%2Fsub%2Ftoken#{'user%40example.com'}" in found.of(
        "a", "href"
    )


@pytest.mark.parametrize("words", [ENGLISH, RUSSIAN], ids=lambda words: words.language)
@pytest.mark.parametrize("status", [Status.DISABLED, Status.EXPIRED, Status.LIMITED])
def test_a_key_that_does_not_work_says_why(status: Status, words: Words) -> None:
    """In the customer's language; there is no link to try in vain."""
    key = replace(KEY, is_active=False) if status is Status.DISABLED else replace(KEY, limit_status=status)
    found = page(key, words=words)
    assert words.why[status] in found.texts
    assert words.statuses[status] in found.texts
    assert "a" not in found.elements
    assert KEY.uuid not in "".join(found.texts)


@pytest.mark.parametrize(("used", "share"), [(0, "0"), (499, "49"), (1000, "100"), (5000, "100")])
def test_what_was_used_is_shown_as_a_part_of_the_limit(used: int, share: str) -> None:
    """Never more than all of it; without a limit there is no bar."""
    limits = Limits(datetime(2026, 12, 31, 23, 59), 1000, Window.MONTH)  # noqa: DTZ001 - UTC without an offset
    found = page(replace(KEY, limits=limits), used)
    assert found.of("progress", "value") == [share]
    assert "of 1000 B this month" in found.texts
    assert "Works until 2026-12-31 23:59 UTC" in found.texts
    assert "progress" not in page(KEY, used).elements


@pytest.mark.parametrize(
    ("count", "english", "russian"),
    [(0, "0 B", "0 Б"), (1023, "1023 B", "1023 Б"), (1536, "1.5 KiB", "1,5 КиБ"), (2**31, "2 GiB", "2 ГиБ")],
)
def test_sizes_are_for_people(count: int, english: str, russian: str) -> None:
    """One decimal, in the language's own spelling."""
    assert (ENGLISH.size(count), RUSSIAN.size(count)) == (english, russian)


@pytest.mark.parametrize(
    ("accept", "language"),
    [
        ("", "en"),
        ("ru", "ru"),
        ("ru-RU,ru;q=0.9,en;q=0.8", "ru"),
        ("en-US,en;q=0.9,ru;q=0.8", "en"),
        ("de,ru;q=0.7,en;q=0.3", "ru"),
        ("de", "en"),
        ("ru;q=0", "en"),
        ("ru;q=nonsense, en;q=0.1", "en"),
        ("*", "en"),
    ],
)
def test_the_browsers_language_is_spoken(accept: str, language: str) -> None:
    """The one liked best of those there are; English else."""
    assert words_for(accept).language == language


def test_the_policy_allows_the_style_and_nothing_else() -> None:
    """No script, no request."""
    assert POLICY.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in POLICY
