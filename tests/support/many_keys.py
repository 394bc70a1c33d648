"""Many keys in the dashboard of a server that has none: as many as a test wants, without their ports."""

from __future__ import annotations

from typing import Any

from playwright.sync_api import Page

_MAKE = """
async ([store, count]) => {
  const { setKeys, setTraffic } = await import(store);
  // What the server knows of keys must not take these away.
  (await import(store.replace("store.js", "live.js"))).stopLive();
  const id = (n) => `00000000-0000-4000-8000-${String(n).padStart(12, "0")}`;
  const keys = Array.from({ length: count }, (_, n) => ({
    id: id(n), uuid: id(n), name: `customer ${n}`, note: n % 3 ? "" : "note",
    created_at: `${new Date(Date.UTC(2026, 0, 1) - n * 1000).toISOString().slice(0, 23)}000`, // a clock that goes back
    is_active: true, status: "active", port: 10001 + (n % 100), short_id: "0123456789abcdef", sni: "www.example.com",
    expires_at: n % 2 ? "2031-01-01T00:00:00.000000" : null, traffic_limit_bytes: n % 4 ? null : 10 ** 11,
    traffic_limit_window: "total", max_devices: null, speed_limit_mbps: null, fingerprint: null,
    used_in_window_bytes: 0, remaining_bytes: null, resets_at: null, expires_after_s: null,
  }));
  const sample = (round) => ({
    timestamp: 0, total_bytes: 0,
    keys: keys.map((key, n) => ({
      key_id: key.id, total_bytes: n * 1000 + round * 5000, devices: n % 3, last_seen: null,
      used_in_window_bytes: n * 1000, remaining_bytes: null, resets_at: null,
    })),
  });
  const timed = (work) => {
    const began = performance.now();
    work();
    document.body.getBoundingClientRect(); // the layout counts too
    return performance.now() - began;
  };
  const drawn = timed(() => setKeys(keys));
  const watch = new MutationObserver(() => {});
  watch.observe(document.body, { subtree: true, childList: true, characterData: true, attributes: true });
  const changes = [];
  const sampled = [1, 2, 3, 4, 5].map((round) => {
    const took = timed(() => setTraffic(sample(round)));
    changes.push(watch.takeRecords().length);
    return took;
  });
  watch.disconnect();
  return { drawn, sampled: sampled.sort((one, other) => one - other)[2], changes: Math.max(...changes) };
}
"""


def main_module(page: Page) -> str:
    """Return the whole address of the dashboard's main.js; the page names it by a relative path."""
    address: str = page.locator("script[src]").evaluate("script => script.src")
    return address


def with_many(page: Page, count: int) -> dict[str, float]:
    """Put keys into the page as their event would, and return what that took.

    `drawn` and `sampled` are milliseconds until they were shown, and for one sample of traffic; `changes` is the number
    of changes in the page that the largest of five samples made.
    """
    took: dict[str, Any] = page.evaluate(_MAKE, [main_module(page).replace("main.js", "store.js"), count])
    return took
