"""What the dashboard says with a number in it: the words follow the number, in both languages."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.support.browser import Visitor
from tests.support.many_keys import main_module

pytestmark = pytest.mark.e2e

_COUNTS = (0, 1, 2, 5, 11, 21, 101)
_SAY = """
async ([main, language, counts]) => {
  const { chooseLanguage, t } = await import(main.replace("main.js", "i18n.js"));
  const messages = (await import(main.replace("js/main.js", `i18n/${language}.js`))).default;
  chooseLanguage(language);
  const values = { found: 1, all: 200, range: "1-200" };
  const names = Object.keys(messages).filter((name) => typeof messages[name] === "object");
  return Object.fromEntries(names.map((name) => [name, counts.map((n) => t(name, { ...values, n }))]));
}
"""
# Of each number before it, the form of a word: as 1, as 2 to 4, and as many.
_RUSSIAN = {0: 2, 1: 0, 2: 1, 5: 2, 11: 2, 21: 0, 101: 0}
_NOUNS = (
    ("день", "дня", "дней"),
    ("час", "часа", "часов"),
    ("ключ", "ключа", "ключей"),
    ("порт", "порта", "портов"),
    ("вход", "входа", "входов"),
    ("ссылка", "ссылки", "ссылок"),
)


def said(person: Visitor, language: str) -> dict[str, list[str]]:
    """Each message that has several forms, for each of the counts."""
    found: dict[str, list[str]] = person.page.evaluate(_SAY, [main_module(person.page), language, _COUNTS])
    assert len(found) > 15
    return found


def test_russian_words_follow_their_numbers(admin: Visitor) -> None:
    """A day, an hour, a key, a port, an inbound or a link: 1 день, 2 дня, 5 дней; but из 1 ключа and из 5 ключей."""
    seen = 0
    for name, texts in said(admin, "ru").items():
        for count, text in zip(_COUNTS, texts, strict=True):
            words = text.rstrip(".:").replace("1 из", "").replace("из 200", "").split()
            after = [word.strip(".,:") for at, word in enumerate(words) if str(count) in words[:at]] or words
            for forms in _NOUNS:
                right = forms[_RUSSIAN[count]]
                if text.startswith(("1 из", " из")):
                    right = forms[1] if _RUSSIAN[count] == 0 else forms[2]
                wrong = {*forms} - {right}
                assert wrong.isdisjoint(after[:2]), (name, text)
                seen += right in after[:2]
    assert seen > 50


def test_english_words_follow_their_numbers(admin: Visitor) -> None:
    """One is one, and all else is many."""
    for name, texts in said(admin, "en").items():
        for count, text in zip(_COUNTS, texts, strict=True):
            for noun in ("day", "hour", "key", "port", "inbound", "link", "device"):
                wrong = f"{count} {noun}s" if count == 1 else f"{count} {noun}"
                assert not f"{text} ".replace(".", " ").replace(":", " ").count(f"{wrong} "), (name, text)


def test_a_unit_follows_the_number_beside_it(admin: Visitor) -> None:
    """While it is typed."""
    page = admin.page
    page.evaluate(
        """async (main) => {
          (await import(main.replace("main.js", "i18n.js"))).chooseLanguage("ru");
          (await import(main.replace("main.js", "actions.js"))).extendDialog([]);
        }""",
        main_module(page),
    )
    for typed, unit in (("1", "день"), ("22", "дня"), ("11", "дней"), ("101", "день")):
        page.locator("dialog input[type=number]").fill(typed)
        expect(page.locator("dialog .unit")).to_have_text(unit)
    page.get_by_role("button", name="30 дней").click()
    expect(page.locator("dialog .unit")).to_have_text("дней")
