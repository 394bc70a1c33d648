"""Holds the texts of a customer's page in each of its languages, and chooses one for a browser."""

import re
from collections.abc import Callable
from dataclasses import dataclass

from vpnkeys.domain.limits import Limits, Status, Window, WindowUsage
from vpnkeys.domain.limits.term import ENGLISH_UNITS, Forms, english_plural, in_words

_STEP = 1000
_QUALITY = re.compile(r"(?:q=([01](?:\.[0-9]{0,3})?))?")
"""The weight of a language in Accept-Language (RFC 9110, 12.4.2)."""


_IN_NAME = re.compile(r"\blanguage ([A-Za-z]{2})(?![A-Za-z])")


@dataclass(frozen=True, slots=True)
class Words:
    """Holds one language. `used` has a place for the window, `of` for limit and window; `units` begin with bytes.

    `left` has a place for a size, `resets` for a moment, `waits` for a term in the units of `term`. Where a number
    changes the words around it, there are several forms, of which `plural` returns the one that the number needs.
    """

    language: str
    statuses: dict[Status, str]
    why: dict[Status, str]
    comes_back: str
    windows: dict[Window, str]
    month_from: str
    last_days: tuple[str, ...]
    left: str
    resets: str
    waits: str
    term: tuple[Forms, ...]
    used: str
    of: str
    expires: str
    never: str
    plural: Callable[[int], int]
    days_left: tuple[str, ...]
    devices: tuple[str, ...]
    devices_online: tuple[str, ...]
    your_link: str
    scan: str
    open_app: str
    by_hand: str
    itself: str
    itself_hint: str
    apps: str
    apps_hint: str
    add_to: str
    get_app: str
    other_systems: str
    copy: str
    copied: str
    not_copied: str
    support: str
    from_operator: str
    several: str
    date: str
    units: tuple[str, ...]
    comma: str

    def size(self, count: int) -> str:
        """Return a number of bytes in the largest unit of which there is at least one, such as "1.5 GB", 10^9 each."""
        size, unit = float(count), 0
        while size >= _STEP and unit < len(self.units) - 1:
            size, unit = size / _STEP, unit + 1
        digits = f"{size:.0f}" if unit == 0 or size == int(size) else f"{size:.1f}"
        return f"{digits.replace('.', self.comma)} {self.units[unit]}"

    def window(self, window: Window) -> str:
        """Return the period in which traffic is counted."""
        if window.is_rolling:
            return self._counted(self.last_days, int(window[:-1]))
        return self.windows.get(window) or self.month_from.format(window.partition("@")[2])

    def remaining(self, usage: WindowUsage) -> str:
        """Return how much of the limit is left."""
        return self.left.format(self.size(usage.remaining_bytes or 0))

    def waiting(self, limits: Limits) -> str:
        """Return how long an access will work from the first connection."""
        return self.waits.format(in_words(limits.expires_after_s or 0, self.term, self.plural))

    def days(self, count: int) -> str:
        """Return how many days an access works yet, such as "3 days left"."""
        return self._counted(self.days_left, count)

    def devices_of(self, online: int | None, most: int) -> str:
        """Return how many devices are online of those that may be, or only the latter where that is not known."""
        if online is None:
            return self._counted(self.devices, most)
        return self._counted(self.devices_online, most, online, most)

    def _counted(self, forms: tuple[str, ...], count: int, *shown: object) -> str:
        """Return the form for a number, with what is shown in its places: the number itself where nothing is given."""
        return forms[self.plural(count)].format(*(shown or (count,)))

    def reason(self, status: Status) -> str:
        """Return why a key does not work, in a word for the lists of clients."""
        return self.statuses[status].lower()


ENGLISH = Words(
    language="en",
    statuses={
        Status.ACTIVE: "Works",
        Status.DISABLED: "Switched off",
        Status.EXPIRED: "Expired",
        Status.LIMITED: "Used up",
    },
    why={
        Status.DISABLED: "This access has been switched off. Please ask the person who gave it to you.",
        Status.EXPIRED: "The time of this access is over. Please ask the person who gave it to you to extend it.",
        Status.LIMITED: "The traffic of this access is used up. Please ask the person who gave it to you for more.",
    },
    comes_back="The traffic of this period is used up. This access works again when the next period begins.",
    windows={Window.TOTAL: "in all", Window.DAY: "today", Window.WEEK: "this week", Window.MONTH: "this month"},
    month_from="in the month from day {}",
    last_days=("in the last {} day", "in the last {} days"),
    left="{} left",
    resets="more from {}",
    waits="Works {} from the first connection",
    term=ENGLISH_UNITS,
    used="used {}",
    of="of {} {}",
    expires="Works until {}",
    never="No expiry date",
    plural=english_plural,
    days_left=("{} day left", "{} days left"),
    devices=("Up to {} device at once", "Up to {} devices at once"),
    devices_online=("{} of {} device online now", "{} of {} devices online now"),
    your_link="Your link",
    scan="Scan it in your VPN app: “+”, then “QR code”.",
    open_app="Open in the app",
    by_hand="Or copy it and choose “import from clipboard” in the app:",
    itself="An address that keeps itself up to date",
    itself_hint="Add it in the app as a subscription. It opens your access: keep it to yourself.",
    apps="Connect",
    apps_hint="First get an app, then add this access to it with one touch.",
    add_to="Add to {}",
    get_app="Get the app",
    other_systems="Another device",
    copy="Copy",
    copied="Copied",
    not_copied="Could not be copied. Select the text and copy it yourself.",
    support="Get help",
    from_operator="Announcement",
    several="Your access",
    date="%Y-%m-%d %H:%M UTC",
    units=("B", "kB", "MB", "GB", "TB", "PB"),
    comma=".",
)


def _russian_plural(count: int) -> int:
    """Return 0 for 1, 21 and the like, 1 for 2 to 4, 22 and the like, else 2: as in "день", "дня" and "дней"."""
    if count % 100 // 10 == 1:
        return 2
    return {1: 0, 2: 1, 3: 1, 4: 1}.get(count % 10, 2)


RUSSIAN = Words(
    language="ru",
    statuses={
        Status.ACTIVE: "Работает",
        Status.DISABLED: "Отключён",
        Status.EXPIRED: "Истёк",
        Status.LIMITED: "Исчерпан",
    },
    why={
        Status.DISABLED: "Этот доступ отключён. Обратитесь к тому, кто его выдал.",
        Status.EXPIRED: "Срок этого доступа истёк. Попросите того, кто его выдал, продлить его.",
        Status.LIMITED: "Трафик этого доступа исчерпан. Попросите добавить трафик того, кто его выдал.",
    },
    comes_back="Трафик этого периода исчерпан. Доступ снова заработает, когда начнётся следующий период.",
    windows={
        Window.TOTAL: "всего",
        Window.DAY: "сегодня",
        Window.WEEK: "на этой неделе",
        Window.MONTH: "в этом месяце",
    },
    month_from="за месяц, считая с {}-го числа",
    last_days=("за последний {} день", "за последние {} дня", "за последние {} дней"),
    left="осталось {}",
    resets="снова с {}",
    waits="Действует {} с первого подключения",
    term=(
        ("день", "дня", "дней"),
        ("час", "часа", "часов"),
        ("минуту", "минуты", "минут"),
        ("секунду", "секунды", "секунд"),
    ),
    used="использовано {}",
    of="из {} {}",
    expires="Действует до {}",
    never="Без срока действия",
    plural=_russian_plural,
    days_left=("Остался {} день", "Осталось {} дня", "Осталось {} дней"),
    # After "до" and "из" all but 1, 21 and the like take the same form.
    devices=("До {} устройства одновременно", *(2 * ("До {} устройств одновременно",))),
    devices_online=("Сейчас в сети {} из {} устройства", *(2 * ("Сейчас в сети {} из {} устройств",))),
    your_link="Ваша ссылка",
    scan="Отсканируйте её в приложении VPN: «+», затем «QR-код».",
    open_app="Открыть в приложении",
    by_hand="Или скопируйте её и выберите в приложении «импорт из буфера обмена»:",
    itself="Адрес, который обновляется сам",
    itself_hint="Добавьте его в приложение как подписку и никому не передавайте: он открывает ваш доступ.",
    apps="Подключение",
    apps_hint="Сначала установите приложение, затем добавьте в него этот доступ одним нажатием.",
    add_to="Добавить в {}",
    get_app="Установить",
    other_systems="Другое устройство",
    copy="Скопировать",
    copied="Скопировано",
    not_copied="Не удалось скопировать. Выделите текст и скопируйте его сами.",
    support="Поддержка",
    from_operator="Объявление",
    several="Ваш доступ",
    date="%d.%m.%Y %H:%M UTC",
    units=("Б", "кБ", "МБ", "ГБ", "ТБ", "ПБ"),
    comma=",",
)

_LANGUAGES = {words.language: words for words in (ENGLISH, RUSSIAN)}


def words_for(accept_language: str) -> Words:
    """Return the words of the language that a browser prefers; English when it names none of them."""
    liked: dict[str, float] = {}
    for offer in accept_language.lower().split(","):
        tag, _, quality = offer.partition(";")
        language = tag.strip().partition("-")[0]
        if language in _LANGUAGES:
            liked[language] = max(liked.get(language, 0.0), _quality(quality))
    best = max(liked, key=lambda language: liked[language], default=ENGLISH.language)
    # A weight of 0 means that the browser does not want this language at all.
    return _LANGUAGES[best] if liked.get(best) else ENGLISH


def words_for_client(user_agent: str, accept_language: str) -> Words:
    """Return the words for an app: of the language that it asks for, else of that which its name tells.

    The apps of sing-box's makers write "language ru_RU" there.
    """
    named = _IN_NAME.search(user_agent)
    return words_for(accept_language or (named[1] if named else ""))


def _quality(parameter: str) -> float:
    """Return a preference: 1 when it is not given, 0 when it cannot be read."""
    found = _QUALITY.fullmatch(parameter.strip())
    return float(found[1] or 1) if found else 0.0
