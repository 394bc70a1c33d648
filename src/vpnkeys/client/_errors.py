"""What can come back instead of an answer.

ApiError
├── Unauthorized      401: the API key is missing or wrong
├── NotFound          404: no such key
├── Rejected          400: asking again as it stands changes nothing
├── TooManyRequests   429: `retry_after_s` says when it is allowed again
├── Unavailable       503, or no answer at all (`status` is None): asking again may work
└── UnexpectedAnswer  the server sent something that is no answer to the question: a fault of it, or another program
"""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any


class ApiError(Exception):
    """The server did not do it. `code` is a stable word for programs, `detail` a sentence for people."""

    def __init__(self, status: int | None, code: str, detail: str, retry_after_s: float | None = None) -> None:
        super().__init__(status, code, detail, retry_after_s)
        self.status = status
        self.code = code
        self.detail = detail
        self.retry_after_s = retry_after_s

    def __str__(self) -> str:
        """Return the sentence for people and the word for programs."""
        return f"{self.detail} ({self.code})"


class Unauthorized(ApiError):
    """The API key is missing or wrong."""


class NotFound(ApiError):
    """There is no such thing."""


class Rejected(ApiError):
    """The request cannot be granted as it stands."""


class TooManyRequests(ApiError):
    """A limit was reached; nothing was done."""


class Unavailable(ApiError):
    """The server, or a part that it needs, does not answer now.

    With a `status` nothing was changed. With none (`code`: `unreachable`, `timeout`, `untrusted_certificate`) a request
    that changes something may or may not have been carried out, unless no connection came about at all.
    """


class UnexpectedAnswer(ApiError):
    """An internal error of the server, or an answer that it should never give."""


_BY_STATUS: dict[int, type[ApiError]] = {
    HTTPStatus.BAD_REQUEST: Rejected,
    HTTPStatus.UNAUTHORIZED: Unauthorized,
    HTTPStatus.NOT_FOUND: NotFound,
    HTTPStatus.TOO_MANY_REQUESTS: TooManyRequests,
    HTTPStatus.BAD_GATEWAY: Unavailable,
    HTTPStatus.SERVICE_UNAVAILABLE: Unavailable,
    HTTPStatus.GATEWAY_TIMEOUT: Unavailable,
}


def error_of(status: int, body: object, headers: Mapping[str, str]) -> ApiError:
    """Return the error that an answer with another status than 200 means; `body` is its JSON, or None."""
    problem: Mapping[str, Any] = body if isinstance(body, dict) else {}
    kind = _BY_STATUS.get(status, UnexpectedAnswer)
    code = problem.get("code", "unexpected_answer")
    detail = problem.get("detail", f"The server answered with status {status} and did not say why.")
    return kind(status, str(code), str(detail), _seconds(headers.get("retry-after", "")))


def _seconds(text: str) -> float | None:
    """Return the seconds that the server gives; a date, which only a proxy would give, is None."""
    try:
        return max(0.0, float(text))
    except ValueError:
        return None
