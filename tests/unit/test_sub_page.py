"""The page of a customer: whatever a name is made of, it is text there."""

from dataclasses import replace
from datetime import datetime
from html.parser import HTMLParser

import pytest
from hypothesis import given
from tests.strategies import keys
from tests.unit.test_link import KEY, site

from vpnkeys.api.pages.sub_apps import APPS, SYSTEMS, systems_for
from vpnkeys.api.pages.sub_page import POLICY, Access, Visit, render_page
from vpnkeys.api.pages.sub_words import ENGLISH, RUSSIAN, Words, words_for, words_for_client
from vpnkeys.cli.output.tables import expiry
from vpnkeys.domain.forms.vless import render_link
from vpnkeys.domain.key import Key
from vpnkeys.domain.limits import Limits, Status, Window, WindowUsage
from vpnkeys.domain.operator import NO_OPERATOR, Operator

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


NOW = datetime(2026, 11, 29, 12)  # noqa: DTZ001 - UTC without an offset
PHONE = "Mozilla/5.0 (Linux; Android 15; Pixel 9) AppleWebKit/537.36"
OPERATOR = Operator("Northern Lights", "https://t.me/lights", "Tonight from 2 to 3 the server restarts.")


def visit(operator: Operator = NO_OPERATOR, user_agent: str = PHONE) -> Visit:
    """A customer's look at the page."""
    return Visit(ADDRESS, operator, user_agent, NOW)


def usage_of(key: Key, used_bytes: int) -> WindowUsage:
    """What is left of a key's limit."""
    return WindowUsage.of(key.limits.traffic_bytes, key.limits.traffic_window, used_bytes, NOW)


def page(
    *keys: Key, used_bytes: int = 0, words: Words = ENGLISH, at: Visit | None = None, devices: int | None = None
) -> Markup:
    """The page of these keys."""
    accesses = [Access(key, render_link(key, site()), usage_of(key, used_bytes), devices) for key in keys]
    return Markup(render_page(accesses, at or visit(), words))


@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_is_text_and_never_markup(name: str) -> None:
    """The page has the elements and attributes that it has with any name, and shows this one as it is."""
    plain, hostile = page(KEY), page(replace(KEY, name=name))
    assert hostile.elements == plain.elements
    assert [place[:2] for place in hostile.attributes] == [place[:2] for place in plain.attributes]
    assert hostile.texts.count(name) == 2  # title and heading


@given(key=keys())
def test_any_page_has_nothing_from_elsewhere(key: Key) -> None:
    """No handler, no inline style that the policy would refuse, no address but those of apps and where to get them."""
    stores = {store for app in APPS for store in app.stores.values()}
    for words in (ENGLISH, RUSSIAN):
        found = page(key, used_bytes=7, words=words)
        assert not {"iframe", "object", "link", "img", "base", "form"} & set(found.elements)
        assert found.elements.count("script") == 1
        assert {place for place in found.of("a", "href") if place.startswith("http")} <= stores
        names = {name for _, name, _ in found.attributes}
        assert not [name for name in names if name.startswith("on") or name in {"style", "src", "action"}]
        schemes = {place.partition(":")[0] for place in found.of("a", "href")}
        assert schemes <= {"vless", "https", *(app.link.partition(":")[0] for app in APPS)}


def test_the_link_can_be_taken_in_three_ways() -> None:
    """By camera, by a touch, and by copying; the address of the subscription stands below."""
    found = page(KEY)
    link = render_link(KEY, site())
    assert link in found.texts
    assert link in found.of("a", "href")
    assert ADDRESS in found.texts
    assert "path" in found.elements


def test_every_app_gets_the_address_as_it_reads_it() -> None:
    """Raw behind the app's own prefix, encoded once in a query, in base64 for Shadowrocket; the name behind."""
    encoded, name = "https%3A%2F%2F203.0.113.7%3A8000%2Fsub%2Ftoken", "user%40example.com"
    in_base64 = "aHR0cHM6Ly8yMDMuMC4xMTMuNzo4MDAwL3N1Yi90b2tlbg"
    found = page(KEY)
    assert {place for place in found.of("a", "href") if not place.startswith(("http", "vless"))} == {
        f"happ://add/{ADDRESS}",
        f"v2rayng://install-sub?url={encoded}#{name}",
        f"v2raytun://import/{ADDRESS}",
        f"streisand://import/{ADDRESS}#{name}",
        f"shadowrocket://add/sub://{in_base64}?remark={name}",
        f"hiddify://import/{ADDRESS}#{name}",
        f"sing-box://import-remote-profile?url={encoded}#{name}",
        f"clash://install-config?url={encoded}&name={name}",
    }
    for system, apps in SYSTEMS.items():
        assert len(apps) >= 3, system
        assert all(app.stores[system].startswith("https://") for app in apps)


@pytest.mark.parametrize(
    ("user_agent", "system"),
    [
        (PHONE, "Android"),
        ("Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15", "iOS"),
        ("Mozilla/5.0 (Windows NT 10.0; Win64; x64)", "Windows"),
        ("Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7)", "macOS"),
        ("Mozilla/5.0 (X11; Linux x86_64)", "Linux"),
        ("", "Android"),
    ],
)
def test_the_system_of_the_browser_comes_first(user_agent: str, system: str) -> None:
    """The others stay, folded."""
    assert systems_for(user_agent)[0] == system
    assert sorted(systems_for(user_agent)) == sorted(SYSTEMS)
    found = page(KEY, at=visit(user_agent=user_agent))
    shown = [text for text in found.texts if text in SYSTEMS]
    assert shown[0] == system


def test_what_the_operator_says_is_on_the_page() -> None:
    """The name above, the announcement before all else, and where to ask; nothing of it where nothing was set."""
    found = page(KEY, at=visit(OPERATOR))
    assert {OPERATOR.name, OPERATOR.announcement, ENGLISH.support} <= set(found.texts)
    assert OPERATOR.support_url in found.of("a", "href")
    plain = page(KEY)
    assert not {ENGLISH.from_operator, ENGLISH.support} & set(plain.texts)


@pytest.mark.parametrize("hostile", HOSTILE)
def test_what_the_operator_says_is_text(hostile: str) -> None:
    """Though it is the operator's own: a stray bracket breaks no page."""
    found = page(KEY, at=visit(Operator(hostile, "https://t.me/x", hostile)))
    assert found.texts.count(hostile) == 2
    assert found.elements.count("script") == 1


def test_several_keys_are_on_one_page() -> None:
    """Each with its name, state and use; those that work with a folded link; one address for all."""
    other = replace(KEY, name="tablet", limit_status=Status.EXPIRED)
    found = page(KEY, other, words=RUSSIAN)
    assert {KEY.name, "tablet", RUSSIAN.statuses[Status.EXPIRED], RUSSIAN.why[Status.EXPIRED]} <= set(found.texts)
    assert found.texts.count(ADDRESS) == 1
    assert found.of("svg", "class") == ["qr"]


@pytest.mark.parametrize("words", [ENGLISH, RUSSIAN], ids=lambda words: words.language)
@pytest.mark.parametrize("status", [Status.DISABLED, Status.EXPIRED, Status.LIMITED])
def test_a_key_that_does_not_work_says_why(status: Status, words: Words) -> None:
    """In the customer's language; there is no link to try in vain."""
    key = replace(KEY, is_active=False) if status is Status.DISABLED else replace(KEY, limit_status=status)
    found = page(key, words=words)
    assert words.why[status] in found.texts
    assert words.comes_back not in found.texts
    assert words.statuses[status] in found.texts
    assert "a" not in found.elements
    assert found.elements.count("svg") == 0
    assert KEY.uuid not in "".join(found.texts)


@pytest.mark.parametrize(("used", "share"), [(0, "0"), (499, "49"), (1000, "100"), (5000, "100")])
def test_what_was_used_is_shown_as_a_part_of_the_limit(used: int, share: str) -> None:
    """Never more than all of it; without a limit there is no bar."""
    limits = Limits(None, 1000, Window.MONTH)
    found = page(replace(KEY, limits=limits), used_bytes=used)
    assert found.of("progress", "value") == [share]
    assert "of 1 kB this month" in found.texts
    assert "progress" not in page(KEY, used_bytes=used).elements


def test_what_is_left_is_told_and_when_there_is_more() -> None:
    """The moment is the reader's; a limit in total has none."""
    found = page(replace(KEY, limits=Limits(None, 1000, Window.MONTH)), used_bytes=400)
    assert "600 B left · more from " in found.texts
    assert found.of("time", "datetime") == ["2026-12-01T00:00:00Z"]
    assert "600 B left" in page(replace(KEY, limits=Limits(None, 1000)), used_bytes=400).texts


@pytest.mark.parametrize("window", [*map(Window, ("total", "day", "week", "month", "month@15", "30d"))])
def test_only_a_limit_of_a_period_comes_back(window: Window) -> None:
    """Who has used up all that there is has to ask for more; who has used up a month waits."""
    key = replace(KEY, limits=Limits(None, 1000, window), limit_status=Status.LIMITED)
    for words in (ENGLISH, RUSSIAN):
        said = words.why[Status.LIMITED] if window == Window.TOTAL else words.comes_back
        other = words.comes_back if window == Window.TOTAL else words.why[Status.LIMITED]
        texts = page(key, words=words).texts
        assert said in texts
        assert other not in texts


@pytest.mark.parametrize(
    ("until", "english", "russian"),
    [
        (datetime(2026, 11, 29, 12, 1), "1 day left", "Остался 1 день"),  # noqa: DTZ001 - UTC without an offset
        (datetime(2026, 12, 1, 12), "2 days left", "Осталось 2 дня"),  # noqa: DTZ001
        (datetime(2026, 12, 4, 12), "5 days left", "Осталось 5 дней"),  # noqa: DTZ001
        (datetime(2026, 12, 10, 12), "11 days left", "Осталось 11 дней"),  # noqa: DTZ001
        (datetime(2026, 12, 20, 12), "21 days left", "Остался 21 день"),  # noqa: DTZ001
        (datetime(2026, 11, 29, 11), None, None),  # noqa: DTZ001
    ],
)
def test_days_that_are_left_are_counted(until: datetime, english: str | None, russian: str | None) -> None:
    """A day that has begun counts; the moment itself is there for the browser's own zone."""
    key = replace(KEY, limits=Limits(until))
    for words, said in ((ENGLISH, english), (RUSSIAN, russian)):
        found = page(key, words=words)
        assert found.of("time", "datetime") == [f"{until.isoformat(timespec='seconds')}Z"]
        left = [text for text in found.texts if "left" in text or "Остал" in text]
        assert left == ([said] if said else [])


def test_devices_are_told_where_there_is_a_limit_of_them() -> None:
    """Online now of the most, or the most alone while nobody knows."""
    limited = replace(KEY, limits=Limits(max_devices=3))
    assert "2 of 3 devices online now" in page(limited, devices=2).texts
    assert "Up to 3 devices at once" in page(limited).texts
    assert not [text for text in page(KEY).texts if "evices" in text]


@pytest.mark.parametrize(
    ("count", "english", "russian"),
    [(0, "0 B", "0 Б"), (999, "999 B", "999 Б"), (1500, "1.5 kB", "1,5 кБ"), (2 * 10**9, "2 GB", "2 ГБ")],
)
def test_sizes_are_for_people(count: int, english: str, russian: str) -> None:
    """One decimal, in the language's own spelling."""
    assert (ENGLISH.size(count), RUSSIAN.size(count)) == (english, russian)


@pytest.mark.parametrize(
    ("window", "english", "russian"),
    [
        ("total", "in all", "всего"),
        ("month@15", "in the month from day 15", "за месяц, считая с 15-го числа"),
        ("30d", "in the last 30 days", "за последние 30 дней"),
    ],
)
def test_every_window_has_a_name(window: str, english: str, russian: str) -> None:
    """Also those with a number."""
    assert (ENGLISH.window(Window(window)), RUSSIAN.window(Window(window))) == (english, russian)


def test_a_time_that_has_not_begun_is_shown_as_such() -> None:
    """It counts from the first connection, whatever the date is."""
    waiting = replace(KEY, limits=Limits(expires_after_s=30 * 86400))
    assert "Works 30 days from the first connection" in page(waiting).texts
    assert "Действует 30 дней с первого подключения" in page(waiting, words=RUSSIAN).texts


@pytest.mark.parametrize(
    ("seconds", "english", "russian"),
    [
        (1, "1 second", "1 секунду"),
        (3600, "1 hour", "1 час"),
        (5400, "1 hour 30 minutes", "1 час 30 минут"),
        (36 * 3600, "1 day 12 hours", "1 день 12 часов"),
        (1_912_862, "22 days 3 hours 21 minutes 2 seconds", "22 дня 3 часа 21 минуту 2 секунды"),
        (3_153_600_000, "36500 days", "36500 дней"),
    ],
)
def test_a_term_is_shown_exactly(seconds: int, english: str, russian: str) -> None:
    """In plain words, on the customer's page and in the tables of the command line."""
    assert ENGLISH.waiting(Limits(expires_after_s=seconds)) == f"Works {english} from the first connection"
    assert RUSSIAN.waiting(Limits(expires_after_s=seconds)) == f"Действует {russian} с первого подключения"
    assert expiry(None, seconds) == f"{english} from the first connection"


@pytest.mark.parametrize(
    ("count", "days", "left", "devices"),
    [
        (0, "дней", "Осталось", "устройств"),
        (1, "день", "Остался", "устройства"),
        (2, "дня", "Осталось", "устройств"),
        (5, "дней", "Осталось", "устройств"),
        (11, "дней", "Осталось", "устройств"),
        (21, "день", "Остался", "устройства"),
        (101, "день", "Остался", "устройства"),
    ],
)
def test_words_follow_their_numbers(count: int, days: str, left: str, devices: str) -> None:
    """In each text of the page that has a number before a word."""
    day, device = ("day", "device") if count == 1 else ("days", "devices")
    assert RUSSIAN.days(count) == f"{left} {count} {days}"
    assert ENGLISH.days(count) == f"{count} {day} left"
    if count:
        waiting = Limits(expires_after_s=count * 86400)
        assert RUSSIAN.waiting(waiting) == f"Действует {count} {days} с первого подключения"
        assert ENGLISH.waiting(waiting) == f"Works {count} {day} from the first connection"
    assert RUSSIAN.devices_of(None, count) == f"До {count} {devices} одновременно"
    assert ENGLISH.devices_of(None, count) == f"Up to {count} {device} at once"
    assert RUSSIAN.devices_of(1, count) == f"Сейчас в сети 1 из {count} {devices}"
    assert ENGLISH.devices_of(1, count) == f"1 of {count} {device} online now"
    if 1 <= count <= 90:
        last = "последний" if days == "день" else "последние"
        assert RUSSIAN.window(Window(f"{count}d")) == f"за {last} {count} {days}"
        assert ENGLISH.window(Window(f"{count}d")) == f"in the last {count} {day}"


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


@pytest.mark.parametrize(
    ("user_agent", "accept", "words"),
    [
        ("SFA/1.12.0 (Build 1; sing-box 1.12.0; language ru_RU)", "", RUSSIAN),
        ("SFA/1.12.0 (Build 1; sing-box 1.12.0; language en_US)", "", ENGLISH),
        ("SFA/1.12.0 (Build 1; sing-box 1.12.0; language ru_RU)", "en", ENGLISH),
        ("v2rayNG/1.9.0", "ru", RUSSIAN),
        ("v2rayNG/1.9.0", "", ENGLISH),
    ],
)
def test_an_app_is_spoken_to_in_its_language(user_agent: str, accept: str, words: Words) -> None:
    """Which it asks for, or tells of."""
    assert words_for_client(user_agent, accept) is words


def test_the_policy_allows_the_pages_own_style_and_script_and_nothing_else() -> None:
    """No other script, no request."""
    assert POLICY.startswith("default-src 'none'; style-src 'sha256-")
    assert "script-src 'sha256-" in POLICY
    assert "unsafe" not in POLICY
