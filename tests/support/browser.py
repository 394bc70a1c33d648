"""A person with a browser: real Chromium, watched for everything that a page of ours never does."""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Playwright, expect

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")

_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # Whatever the browser wants for itself, it gets no further than this machine.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)
_PHONE_WIDTH = 600
_PHONE = (
    "Mozilla/5.0 (Linux; Android 15; Pixel 9) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0 Mobile Safari/537.36"
)
_PATIENCE_MS = 120_000

_WATCH = """
document.addEventListener("securitypolicyviolation", (event) =>
  console.error(`policy: ${event.violatedDirective} ${event.blockedURI} ${event.sample}`));
"""
# What is meant to be cut off with an ellipsis says so in its style.
_BROKEN = """
() => {
  const seen = (element) =>
    element.checkVisibility({ visibilityProperty: true }) && element.getBoundingClientRect().width > 1;
  const meet = (one, other) =>
    one.left < other.right - 1 && other.left < one.right - 1 &&
    one.top < other.bottom - 1 && other.top < one.bottom - 1;
  const found = [];
  for (const element of document.querySelectorAll("td, th, button, dt, dd, .tabs a, .sections a, h1, h2")) {
    if (!seen(element) || element.closest(".sr-only, .scroll, .skip, .toast")) continue;
    if (element.scrollWidth > element.clientWidth + 1 && getComputedStyle(element).textOverflow !== "ellipsis")
      found.push(`cut off: ${element.className} ${element.textContent.slice(0, 40)}`);
  }
  for (const row of document.querySelectorAll("tr")) {
    const cells = [...row.children].filter(seen).map((cell) => [cell, cell.getBoundingClientRect()]);
    for (const [one, box] of cells)
      for (const [other, beside] of cells)
        if (one !== other && meet(box, beside))
          found.push(`overlaps: ${one.className} ${other.className}`);
  }
  for (const inner of document.querySelectorAll("td > *, th > *")) {
    if (!seen(inner) || inner.closest(".sr-only, .scroll")) continue;
    const box = inner.getBoundingClientRect(), cell = inner.parentElement.getBoundingClientRect();
    if (box.right > cell.right + 1) found.push(`beyond its cell: ${inner.className} ${inner.textContent.slice(0, 40)}`);
  }
  const pen = document.createElement("canvas").getContext("2d");
  for (const select of document.querySelectorAll("select")) {
    if (!seen(select)) continue;
    const style = getComputedStyle(select), text = select.selectedOptions[0]?.textContent ?? "";
    pen.font = style.font;
    pen.letterSpacing = style.letterSpacing;
    const room = select.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight);
    if (pen.measureText(text).width > room + 1) found.push(`cut off: select ${text}`);
  }
  const top = document.querySelector("header.top");
  for (const part of top?.children ?? []) {
    const end = top.getBoundingClientRect().right - parseFloat(getComputedStyle(top).paddingRight);
    // A phone's last button stands a little to the right, where its picture is in line with the page.
    if (seen(part) && part.className !== "sections" && part.getBoundingClientRect().right > end + 9)
      found.push(`beyond the header: ${part.className}`);
  }
  return found;
}
"""
_AXE = files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8")
_AXE_RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
# All that it found in order, for each element, takes longer to hand over than to find.
_VIOLATIONS = "async (options) => (await axe.run(document, options)).violations"

Theme = Literal["light", "dark"]
WIDTHS = (360, 1440)
ALL_WIDTHS = (360, 768, 820, 1024, 1440)
THEMES: tuple[Theme, ...] = ("light", "dark")


def artifacts() -> Path:
    """Where pictures go: VPNKEYS_ARTIFACTS, else a directory that git does not see."""
    place = os.environ.get("VPNKEYS_ARTIFACTS") or Path(__file__).parents[2] / "build" / "screenshots"
    directory = Path(place)
    directory.mkdir(parents=True, exist_ok=True)
    return directory


def launch(playwright: Playwright) -> Browser:
    """Debian's Chromium, without a window."""
    expect.set_options(timeout=_PATIENCE_MS)
    # Where names of files are ASCII by the locale, Chromium saves one in Cyrillic as "download".
    return playwright.chromium.launch(
        executable_path=CHROMIUM, args=list(_FLAGS), env={**os.environ, "LC_ALL": "C.UTF-8"}
    )


@dataclass
class Visitor:
    """One person's browser: cookies of its own, one page, and a list of all that went wrong in it."""

    browser: Browser
    base_url: str
    width: int = 1440
    theme: Theme = "light"
    language: str = "en"
    zone: str = "UTC"
    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    expected: set[int] = field(default_factory=set)
    """Statuses that a test provokes: the browser's console repeats each."""

    def __post_init__(self) -> None:
        """Open the browser; the page is still empty."""
        phone = self.width < _PHONE_WIDTH
        self.context: BrowserContext = self.browser.new_context(
            ignore_https_errors=True,
            viewport={"width": self.width, "height": 780 if phone else 900},
            is_mobile=phone,
            has_touch=phone,
            user_agent=_PHONE if phone else None,
            locale={"en": "en-GB", "ru": "ru-RU"}[self.language],
            timezone_id=self.zone,
            color_scheme=self.theme,
            reduced_motion="reduce",
        )
        self.context.set_default_timeout(_PATIENCE_MS)
        self.context.grant_permissions(["clipboard-read", "clipboard-write"], origin=self.base_url)
        self.context.add_init_script(_WATCH)
        self.context.on("request", lambda request: self.requests.append(request.url))
        self.page: Page = self.context.new_page()
        self.page.on("console", self._heard)
        self.page.on("pageerror", lambda error: self.complaints.append(f"uncaught: {error}"))

    def _heard(self, message: ConsoleMessage) -> None:
        status = re.search(r"responded with a status of (\d+)", message.text)
        if message.type in {"error", "warning"} and not (status and int(status[1]) in self.expected):
            self.complaints.append(f"{message.type}: {message.text} ({message.location})")

    def open(self, address: str = "") -> None:
        """Go to the dashboard as by typing its address; `address` begins with #."""
        self.page.goto(f"{self.base_url}/ui/{address}")

    def sign_in(self, token: str, address: str = "") -> None:
        """Sign in by the form, and wait until the first view is there."""
        self.open(address)
        self.page.locator("input[type=password]").fill(token)
        self.page.keyboard.press("Enter")
        expect(self.page.locator("header.top")).to_be_visible()

    def go(self, address: str) -> None:
        """Go to another view, as by a link."""
        self.page.evaluate("address => { location.hash = address }", address)

    def told(self) -> str:
        """What is read aloud at the edge of the page."""
        return self.page.locator("#toasts").inner_text()

    def clipboard(self) -> str:
        """What would be pasted now."""
        text: str = self.page.evaluate("navigator.clipboard.readText()")
        return text

    def picture(self, name: str) -> Path:
        """Keep a picture of the page as it is."""
        path = artifacts() / f"{name}.png"
        self.page.screenshot(path=path, full_page=False)
        return path

    def overflow(self) -> int:
        """By how many pixels the page is wider than the window."""
        wide: int = self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        return wide

    def broken(self) -> list[str]:
        """Cells, buttons and headings that are seen and whose text is cut off or runs over its neighbour."""
        found: list[str] = self.page.evaluate(_BROKEN)
        return found

    def obstacles(self) -> list[str]:
        """What axe finds in the way of people who do not see, hear or point well."""
        if not self.page.evaluate("'axe' in window"):
            self.page.evaluate(_AXE)
        options = {"runOnly": {"type": "tag", "values": _AXE_RULES}, "resultTypes": ["violations"]}
        found: list[dict[str, Any]] = self.page.evaluate(_VIOLATIONS, options)
        return [
            f"{violation['id']}: {node['target']} {node['failureSummary']}"
            for violation in found
            for node in violation["nodes"]
        ]

    def foreign(self) -> list[str]:
        """Requests that went to anybody but the service."""
        ours = ("about:blank", f"{self.base_url}/", f"blob:{self.base_url}/")
        return [url for url in self.requests if not url.startswith(ours)]

    def check(self) -> None:
        """Nothing went wrong, and nobody else was asked for anything."""
        assert self.complaints == []
        assert self.foreign() == []

    def __enter__(self) -> Self:
        """The browser is open already."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it; when a test fails, its last view is kept."""
        if error is not None:
            self.picture(f"failed-{os.getpid()}-{id(self)}")
        self.context.close()
