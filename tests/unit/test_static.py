"""The files of a page are read and packed once, however often they are asked for."""

import gzip

import pytest

from vpnkeys.api.pages import docs, ui
from vpnkeys.api.pages.static import StaticFiles


@pytest.fixture
def packed(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What was packed."""
    contents: list[bytes] = []
    compress = gzip.compress

    def noted(content: bytes, **more: int) -> bytes:
        contents.append(content)
        return compress(content, **more)

    monkeypatch.setattr(gzip, "compress", noted)
    return contents


def test_a_file_is_packed_once(packed: list[bytes]) -> None:
    """By its content: the same file in two pages is packed once too."""
    name, content = "a.css", b"a page's own style, known to no other test"
    expected = gzip.compress(content, mtime=0)
    for _ in range(3):
        files = StaticFiles({name: content}, {name: "text/css"}, "default-src 'none'")
        assert {files.answer(name, "", "gzip").body for _ in range(3)} == {expected}
    assert packed.count(content) == 2  # here, and by all pages together


def test_the_pages_are_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """When the first browser asks: they are megabytes that most servers never show."""
    docs.page(), asks_for(ui)
    monkeypatch.setattr(docs, "read", refuses)
    monkeypatch.setattr(ui, "files", refuses)
    assert docs.page().status_code == asks_for(ui) == 200


def asks_for(page: object) -> int:
    """Ask for the dashboard; return the status."""
    return page._files().answer("", "", "").status_code  # type: ignore[attr-defined,no-any-return]


def refuses(*_: object) -> bytes:
    """Stand in for what must not be called any more."""
    raise AssertionError
