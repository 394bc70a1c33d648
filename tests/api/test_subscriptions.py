"""Subscriptions over HTTP: who has the token gets everything, and for anybody else there is nothing there."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

import httpx
import pytest
from tests.support.keys import Key, make_key
from tests.support.link import VlessLink
from tests.support.service import Service
from tests.support.target import RealityTarget

from vpnkeys.client import Client, NotFound

pytestmark = pytest.mark.e2e

_BROWSER = {"User-Agent": "Mozilla/5.0 (X11; Linux x86_64)", "Accept": "text/html,*/*;q=0.8"}
_NOBODYS = "x" * 43
_HOSTILE = (
    "<script>alert(1)</script>",
    "\"><img src=x onerror='alert(1)'>",
    "../../etc/passwd",
    ".",
    'a"; b\\',
    "Ключ 🦄",
)


@pytest.fixture(scope="module")
def service(target: RealityTarget) -> Iterator[Service]:
    """A service of this module's own."""
    with Service(target) as service:
        service.wait_ready()
        yield service


@pytest.fixture
def key(service: Service) -> Iterator[Key]:
    """A key, gone afterwards."""
    key = make_key(service, "user@example.com")
    yield key
    service.client.delete(f"/api/keys/{key['id']}")


def subscribe(service: Service, key: Key) -> str:
    """The path of a new subscription."""
    made = service.client.post(f"/api/keys/{key['id']}/subscription").raise_for_status().json()
    assert made["url"].startswith(f"{service.base_url}/sub/")
    return str(made["url"]).removeprefix(service.base_url)


def get(service: Service, path: str, method: str = "GET", **headers: str) -> httpx.Response:
    """What a stranger's client is answered. All requests have one id, which answers repeat."""
    with service.new_client(api_key="") as client:
        return client.request(method, path, headers={**headers, "X-Request-ID": "stranger"})


def told(answer: httpx.Response) -> tuple[int, dict[str, str], bytes]:
    """An answer but for its date."""
    headers = {name: value for name, value in answer.headers.items() if name != "date"}
    return answer.status_code, headers, answer.content


def test_one_address_serves_every_client(service: Service, key: Key) -> None:
    """In the form that its User-Agent tells of, or that is asked for by name, without an API key."""
    path = subscribe(service, key)
    link = service.client.get(f"/api/keys/{key['id']}/config").json()["vless_url"]
    listed = get(service, path, **{"User-Agent": "v2rayNG/1.9.0"})
    assert base64.b64decode(listed.content, validate=True).decode() == f"{link}\n"
    assert get(service, f"{path}?format=link").text == f"{link}\n"
    assert get(service, f"{path}/?format=link").text == f"{link}\n"
    sing_box = get(service, path, **{"User-Agent": "sing-box 1.12.12"})
    assert sing_box.headers["content-type"] == "application/json"
    assert sing_box.json()["outbounds"][1]["uuid"] == key["uuid"]
    mihomo = get(service, path, **{"User-Agent": "clash.meta"})
    assert mihomo.headers["content-type"] == "application/yaml; charset=utf-8"
    assert f'"uuid": "{key["uuid"]}"' in mihomo.text
    page = get(service, path, **_BROWSER)
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "<svg" in page.text
    assert get(service, f"{path}?format=base64", **_BROWSER).content == listed.content
    head = get(service, path, "HEAD")
    assert (head.status_code, head.content, head.headers["etag"]) == (200, b"", listed.headers["etag"])
    unknown = get(service, f"{path}?format=<b>")
    assert (unknown.status_code, unknown.json()["code"]) == (400, "unknown_format")
    assert "<b>" not in unknown.text


def test_clients_are_told_of_use_limits_and_name(service: Service, key: Key) -> None:
    """As they read it, all four numbers of them: 0 is no limit."""
    path = subscribe(service, key)
    headers = get(service, path).headers
    assert re.fullmatch(r"upload=0; download=\d+; total=0; expire=0", headers["subscription-userinfo"])
    assert headers["profile-web-page-url"] == f"{service.base_url}{path}"
    assert not {"support-url", "announce"} & set(headers)
    assert headers["profile-update-interval"] == "12"
    assert headers["profile-title"] == f"base64:{base64.b64encode(b'user@example.com').decode()}"
    limits = {"expires_at": "2031-01-01T00:00:00Z", "traffic_limit_bytes": 10**9, "traffic_limit_window": "month"}
    service.client.patch(f"/api/keys/{key['id']}", json=limits).raise_for_status()
    info = get(service, path).headers["subscription-userinfo"]
    assert re.fullmatch(r"upload=0; download=\d+; total=1000000000; expire=1924992000", info)


@pytest.mark.parametrize(
    ("limits", "total", "expire"),
    [
        ({}, 0, 0),
        ({"traffic_limit_bytes": 10**9}, 10**9, 0),
        ({"expires_at": "2031-01-01T00:00:00Z"}, 0, 1924992000),
        ({"traffic_limit_bytes": 10**9, "expires_at": "2031-01-01T00:00:00Z"}, 10**9, 1924992000),
        ({"expires_after_s": 86400}, 0, 0),
    ],
    ids=["no limit", "traffic", "date", "both", "a time that has not begun"],
)
def test_hiddify_shows_usage_with_every_kind_of_limit_and_without(
    service: Service, key: Key, limits: dict[str, object], total: int, expire: int
) -> None:
    """It shows none unless upload, download, total and expire are all there, as numbers: 0 is no limit."""
    service.client.patch(f"/api/keys/{key['id']}", json=limits).raise_for_status()
    client = {"User-Agent": "HiddifyNext/2.5.7 (android) like ClashMeta v2ray sing-box"}
    answer = get(service, subscribe(service, key), **client)
    values = dict(part.strip().split("=") for part in answer.headers["subscription-userinfo"].split(";"))
    assert {name: int(value) for name, value in values.items()} == {
        "upload": 0,
        "download": 0,
        "total": total,
        "expire": expire,
    }


def test_nobody_else_keeps_or_indexes_or_frames_it(service: Service, key: Key) -> None:
    """Neither a shared cache, nor a search engine, nor another site; the page can do nothing at all."""
    path = subscribe(service, key)
    for answer in (get(service, path), get(service, path, **_BROWSER)):
        assert answer.headers["cache-control"] == "no-store"
        assert "noindex" in answer.headers["x-robots-tag"]
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["content-security-policy"].startswith("default-src 'none'; style-src 'sha256-")
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]


def test_what_a_client_has_already_is_not_sent_again(service: Service, key: Key) -> None:
    """304 for the right tag, as often as nothing changes; each form has a tag of its own."""
    path = subscribe(service, key)
    first = get(service, path)
    tag = first.headers["etag"]
    for known in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        again = get(service, path, **{"If-None-Match": known})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
        assert again.headers["subscription-userinfo"] == first.headers["subscription-userinfo"]
    assert get(service, path, **{"If-None-Match": '"other"'}).status_code == 200
    forms = ("link", "base64", "sing-box", "mihomo", "html")
    assert len({get(service, f"{path}?format={form}").headers["etag"] for form in forms}) == len(forms)
    service.client.patch(f"/api/keys/{key['id']}", json={"name": "another"}).raise_for_status()
    assert get(service, path, **{"If-None-Match": tag}).status_code == 200


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
@pytest.mark.parametrize("end", ["", "/", "?format=link", "?format=nonsense", "/more"])
def test_an_unknown_token_is_like_an_unknown_path(service: Service, method: str, end: str) -> None:
    """To the byte, whatever is sent along; other methods find nothing there with the right token either."""
    for headers in ({}, _BROWSER, {"If-None-Match": "*"}):
        nowhere = told(get(service, f"/sob/{_NOBODYS}{end}", method, **headers))
        assert nowhere[0] == 404
        assert told(get(service, f"/sub/{_NOBODYS}{end}", method, **headers)) == nowhere


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_a_subscription_can_only_be_read(service: Service, key: Key, method: str) -> None:
    """Whatever else is tried finds nothing there, also with the right token."""
    path = subscribe(service, key)
    assert told(get(service, path, method)) == told(get(service, "/nowhere/at-all", method))


def test_the_bare_prefix_leads_nowhere(service: Service) -> None:
    """No redirect tells of it."""
    for path in ("/sub", "/sub/"):
        assert told(get(service, path)) == told(get(service, path.replace("sub", "sob")))


def test_a_new_address_ends_the_old_one_and_can_be_taken_away(service: Service, key: Key) -> None:
    """At once; the key itself goes on, and the operator sees whether there is one."""
    about = f"/api/keys/{key['uuid']}/subscription"
    assert service.client.get(about).json() == {"key_id": key["id"], "exists": False, "created_at": None}
    old, new = subscribe(service, key), subscribe(service, key)
    assert [get(service, path).status_code for path in (old, new)] == [404, 200]
    state = service.client.get(about).json()
    assert (state["exists"], len(state["created_at"])) == (True, 26)
    assert service.client.delete(about).json() == {"message": "Subscription revoked successfully"}
    assert get(service, new).status_code == 404
    again = service.client.delete(about)
    assert (again.status_code, again.json()["code"]) == (404, "subscription_not_found")
    assert service.client.get(f"/api/keys/{key['id']}").json()["status"] == "active"


def test_a_deleted_keys_address_leads_nowhere(service: Service) -> None:
    """From the moment of the answer."""
    key = make_key(service)
    path = subscribe(service, key)
    assert get(service, path).status_code == 200
    service.client.delete(f"/api/keys/{key['id']}").raise_for_status()
    assert told(get(service, path)) == told(get(service, "/nowhere/at-all"))
    assert service.client.post(f"/api/keys/{key['id']}/subscription").json()["code"] == "key_not_found"


@pytest.mark.parametrize(
    ("change", "status", "russian"),
    [
        ({"is_active": False}, "disabled", "отключён"),
        ({"expires_at": "2020-01-01T00:00:00"}, "expired", "истёк"),
    ],
)
def test_a_key_that_does_not_work_says_so(
    service: Service, key: Key, change: dict[str, Any], status: str, russian: str
) -> None:
    """The subscription is still there, in every form an entry or a page that says why, and without a way in."""
    path = subscribe(service, key)
    assert service.client.patch(f"/api/keys/{key['id']}", json=change).json()["status"] == status
    for form in ("link", "base64", "sing-box", "mihomo", "html"):
        answer = get(service, f"{path}?format={form}", **{"Accept-Language": "ru"})
        assert answer.status_code == 200
        text = base64.b64decode(answer.content).decode() if form == "base64" else answer.text
        assert russian in unquote(text).lower()
        assert key["uuid"] not in text
    assert russian in get(service, path, **_BROWSER, **{"Accept-Language": "ru-RU,ru;q=0.9"}).text


@pytest.mark.parametrize("name", _HOSTILE)
def test_whatever_a_stranger_writes_stays_text(service: Service, name: str) -> None:
    """In names and in what a browser says of itself: no markup in the page, no other header, no other file."""
    key = make_key(service, name)
    path = subscribe(service, key)
    odd = {"User-Agent": f"Mozilla/5.0 {_HOSTILE[0]}", "Accept": "text/html", "Accept-Language": _HOSTILE[0]}
    page = get(service, path, **odd)
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.text.count("<script") == 1  # the page's own
    for word in ("<script>alert", "<img", "onerror='"):
        assert word not in page.text
    answer = get(service, path)
    title = base64.b64decode(answer.headers["profile-title"].removeprefix("base64:")).decode()
    assert title == name
    disposition = answer.headers["content-disposition"]
    match = re.fullmatch(r"attachment; filename\*=UTF-8''([A-Za-z0-9._~%-]+)", disposition)
    assert match is not None, disposition
    file_name = unquote(match[1])
    assert not set('/\\"<>:|?*') & set(file_name)
    assert not file_name.startswith(".")
    assert VlessLink.parse(get(service, f"{path}?format=link").text.rstrip()).name == name
    outbound = get(service, f"{path}?format=sing-box").json()["outbounds"][1]
    assert outbound["uuid"] == key["uuid"]
    service.client.delete(f"/api/keys/{key['id']}")


def test_one_address_for_several_keys(service: Service, key: Key) -> None:
    """In every form all keys, those that have ended too; the numbers are those of all together."""
    limits = {"expires_at": "2031-01-01T00:00:00Z", "traffic_limit_bytes": 10**9}
    second = service.client.post("/api/keys", json={"name": "tablet", **limits}).raise_for_status().json()
    ended = service.client.post("/api/keys", json={"name": "old phone"}).raise_for_status().json()
    service.client.patch(f"/api/keys/{ended['id']}", json={"is_active": False}).raise_for_status()
    wanted = [second["uuid"], ended["id"], key["id"]]
    made = service.client.post("/api/subscriptions", json={"keys": wanted}).raise_for_status().json()
    assert made["key_ids"] == [second["id"], ended["id"], key["id"]]
    path = made["url"].removeprefix(service.base_url)
    names = ["tablet", "user@example.com", "⛔ old phone: switched off"]
    answer = get(service, f"{path}?format=link")
    assert [unquote(line.rpartition("#")[2]) for line in answer.text.splitlines()] == names
    assert re.fullmatch(r"upload=0; download=\d+; total=0; expire=0", answer.headers["subscription-userinfo"])
    assert get(service, f"{path}?format=sing-box").json()["outbounds"][0]["outbounds"] == names
    assert json.loads(get(service, f"{path}?format=mihomo").text)["proxy-groups"][0]["proxies"] == names
    page = get(service, path, **_BROWSER).text
    assert not [name for name in ("tablet", "old phone", "user@example.com") if name not in page]
    service.client.patch(f"/api/keys/{key['id']}", json=limits | {"expires_at": "2032-01-01T00:00:00Z"})
    service.client.delete(f"/api/keys/{ended['id']}").raise_for_status()
    info = get(service, path).headers["subscription-userinfo"]
    assert info.endswith(f"; total={2 * 10**9}; expire=1956528000")
    listed = service.client.get("/api/subscriptions").json()
    assert listed == [{"id": made["id"], "key_ids": [second["id"], key["id"]], "created_at": made["created_at"]}]
    assert service.client.delete(f"/api/subscriptions/{made['id']}").status_code == 200
    assert get(service, path).status_code == 404
    again = service.client.delete(f"/api/subscriptions/{made['id']}")
    assert (again.status_code, again.json()["code"]) == (404, "subscription_not_found")
    assert service.client.post("/api/subscriptions", json={"keys": ["nobody"]}).json()["code"] == "key_not_found"
    assert service.client.post("/api/subscriptions", json={"keys": []}).status_code == 400
    service.client.delete(f"/api/keys/{second['id']}")


def test_clients_and_customers_are_told_what_the_operator_set(target: RealityTarget) -> None:
    """Name, where to get help, and an announcement, in headers and on the page, in any script."""
    settings = {
        "VPNKEYS_OPERATOR_NAME": "Северное сияние",
        "VPNKEYS_SUPPORT_URL": "https://t.me/lights",
        "VPNKEYS_ANNOUNCEMENT": "Сегодня с 2 до 3\nперезапуск",
    }
    with Service(target, settings=settings) as service:
        service.wait_ready()
        path = subscribe(service, make_key(service, "user@example.com"))
        headers = get(service, path).headers
        assert headers["support-url"] == "https://t.me/lights"
        for name, text in (("profile-title", "Северное сияние"), ("announce", "Сегодня с 2 до 3 перезапуск")):
            assert base64.b64decode(headers[name].removeprefix("base64:")).decode() == text
        page = get(service, path, **_BROWSER).text
        told = ("Северное сияние", "user@example.com", "Сегодня с 2 до 3 перезапуск", "https://t.me/lights")
        assert not [text for text in told if text not in page]


def test_the_token_is_nowhere_on_the_disk_or_in_the_log(service: Service, key: Key) -> None:
    """Used, replaced and guessed: a copy of the data directory opens nobody's subscription."""
    paths = [subscribe(service, key), subscribe(service, key), f"/sub/{_NOBODYS}"]
    for path in paths:
        get(service, path)
    tokens = [path.removeprefix("/sub/").encode() for path in paths]
    kept = [path.read_bytes() for path in service.data_dir.rglob("*") if path.is_file()]
    kept.append(service.log().encode())
    assert not [token for token in tokens if any(token in content for content in kept)]


def test_who_may_make_one(service: Service, key: Key) -> None:
    """Whoever may change keys; who may look sees that it is there; without a key nobody."""
    about = f"/api/keys/{key['id']}/subscription"
    read = service.client.post("/api/tokens", json={"name": "r", "scope": "read"}).json()
    keys = service.client.post("/api/tokens", json={"name": "k", "scope": "keys"}).json()
    with service.new_client(api_key=read["token"]) as client:
        assert client.get(about).status_code == 200
        assert [client.request(method, about).status_code for method in ("POST", "DELETE")] == [401, 401]
    with service.new_client(api_key=keys["token"]) as client:
        assert [client.request(method, about).status_code for method in ("POST", "DELETE")] == [200, 200]
    assert [get(service, about, method).status_code for method in ("GET", "POST", "DELETE")] == [401] * 3


def test_guessing_is_throttled_and_shuts_out_nobody(target: RealityTarget) -> None:
    """Tokens that are nobody's count like wrong API keys, per address; the right one still opens."""
    with Service(target, settings={"VPNKEYS_RATE_LIMITS": "guess=3/minute"}) as service:
        service.wait_ready()
        path = subscribe(service, make_key(service))
        assert [get(service, path).status_code for _ in range(5)] == [200] * 5
        assert [get(service, f"/sub/{n}").status_code for n in range(5)] == [404, 404, 404, 429, 429]
        assert get(service, "/nowhere").status_code == 404
        assert get(service, path).status_code == 200


def test_by_the_client_library(service: Service, key: Key) -> None:
    """Made, looked at and taken away."""
    with Client(service.base_url, service.api_key, verify=service.data_dir / "tls" / "cert.pem") as client:
        assert client.keys.subscription(key["id"]).exists is False
        made = client.keys.make_subscription(key["uuid"])
        assert (made.key_id, client.keys.subscription(key["id"]).created_at) == (key["id"], made.created_at)
        assert get(service, made.url.removeprefix(service.base_url)).status_code == 200
        client.keys.revoke_subscription(key["id"])
        with pytest.raises(NotFound):
            client.keys.revoke_subscription(key["id"])


def test_by_the_command_line(service: Service, key: Key) -> None:
    """The address stands alone on the last line, below its picture if asked for; --revoke ends it."""
    shown = service.cli("keys", "sub", key["id"], "--qr")
    assert shown.returncode == 0
    assert "self-signed" in shown.stderr
    address = shown.stdout.splitlines()[-1]
    assert "█" in shown.stdout
    path = address.removeprefix(service.base_url)
    assert get(service, path).status_code == 200
    made = json.loads(service.cli("keys", "sub", key["id"], "--json").stdout)
    assert made["key_id"] == key["id"]
    assert [get(service, one).status_code for one in (path, made["url"].removeprefix(service.base_url))] == [404, 200]
    assert service.cli("keys", "sub", key["id"], "--revoke").returncode == 0
    assert service.cli("keys", "sub", key["id"], "--revoke").returncode == 1
    assert service.client.get(f"/api/keys/{key['id']}/subscription").json()["exists"] is False
