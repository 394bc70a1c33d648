"""Holds the texts of a customer's page in each of its languages, and chooses one for a browser."""

import re
from dataclasses import dataclass
from datetime import datetime

from vpnkeys.domain.limits import Status, Window

_STEP = 1024
_QUALITY = re.compile(r"(?:q=([01](?:\.[0-9]{0,3})?))?")
"""The weight of a language in Accept-Language (RFC 9110, 12.4.2)."""


@dataclass(frozen=True, slots=True)
class Words:
    """Holds one language. `used` has a place for the window, `of` for limit and window; `units` begin with bytes."""

    language: str
    statuses: dict[Status, str]
    why: dict[Status, str]
    windows: dict[Window, str]
    used: str
    of: str
    expires: str
    never: str
    your_link: str
    scan: str
    open_app: str
    by_hand: str
    itself: str
    itself_hint: str
    apps: str
    date: str
    units: tuple[str, ...]
    comma: str

    def size(self, count: int) -> str:
        """Return a number of bytes in the largest unit of which there is at least one, such as "1.5 GiB"."""
        size, unit = float(count), 0
        while size >= _STEP and unit < len(self.units) - 1:
            size, unit = size / _STEP, unit + 1
        digits = f"{size:.0f}" if unit == 0 or size == int(size) else f"{size:.1f}"
        return f"{digits.replace('.', self.comma)} {self.units[unit]}"

    def expiry(self, moment: datetime | None) -> str:
        """Return until when the access works."""
        return self.never if moment is None else self.expires.format(moment.strftime(self.date))


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
        Status.LIMITED: "The traffic of this access is used up. It comes back with the next period, or when extended.",
    },
    windows={Window.TOTAL: "in all", Window.DAY: "today", Window.WEEK: "this week", Window.MONTH: "this month"},
    used="used {}",
    of="of {} {}",
    expires="Works until {}",
    never="No expiry date",
    your_link="Your link",
    scan="Scan it in your VPN app: “+”, then “QR code”.",
    open_app="Open in the app",
    by_hand="Or copy it and choose “import from clipboard” in the app:",
    itself="An address that keeps itself up to date",
    itself_hint="Add it in the app as a subscription. It opens your access: keep it to yourself.",
    apps="Apps",
    date="%Y-%m-%d %H:%M UTC",
    units=("B", "KiB", "MiB", "GiB", "TiB", "PiB"),
    comma=".",
)

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
        Status.LIMITED: "Трафик этого доступа исчерпан. Он вернётся с новым периодом или после продления.",
    },
    windows={
        Window.TOTAL: "всего",
        Window.DAY: "сегодня",
        Window.WEEK: "на этой неделе",
        Window.MONTH: "в этом месяце",
    },
    used="использовано {}",
    of="из {} {}",
    expires="Действует до {}",
    never="Без срока действия",
    your_link="Ваша ссылка",
    scan="Отсканируйте её в приложении VPN: «+», затем «QR-код».",
    open_app="Открыть в приложении",
    by_hand="Или скопируйте её и выберите в приложении «импорт из буфера обмена»:",
    itself="Адрес, который обновляется сам",
    itself_hint="Добавьте его в приложение как подписку и никому не передавайте: он открывает ваш доступ.",
    apps="Приложения",
    date="%d.%m.%Y %H:%M UTC",
    units=("Б", "КиБ", "МиБ", "ГиБ", "ТиБ", "ПиБ"),
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


def _quality(parameter: str) -> float:
    """Return a preference: 1 when it is not given, 0 when it cannot be read."""
    found = _QUALITY.fullmatch(parameter.strip())
    return float(found[1] or 1) if found else 0.0
