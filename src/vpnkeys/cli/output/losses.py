"""Says what is lost when earlier data come back."""

from collections.abc import Iterator

from vpnkeys.cli.output.tables import short_bytes
from vpnkeys.ops.losses import Losses
from vpnkeys.store.files.compared import Difference, Differences

_NAMED = 5
# By what is compared: of things that were made, removed and changed since.
_THINGS = {
    "keys": (
        "made since are gone, and their links do not work any more",
        "removed since work again",
        "changed since are as they were, with their links, limits and resets of then",
    ),
    "tokens": (
        "made since open nothing any more",
        "removed since open the API again",
        "revoked or changed since are as they were",
    ),
    "subscriptions": (
        "made since, or with a key added since, are as they were",
        "removed since, or with a key removed since, are as they were",
        "changed since are as they were, with the URLs of then",
    ),
    "webhooks": (
        "made since get no events any more",
        "removed since get events again",
        "changed since are as they were",
    ),
}
_FILES = {
    "reality.json": "the REALITY key pair of then comes back: links of the present one do not work any more",
    "api-key.json": "the API key of then opens the API again, the present one does not",
    "tls/cert.pem": "the self-signed certificate of then comes back",
    "acme/cert.pem": "the issued certificate of then comes back, or a new one is issued",
}


def losses_in_words(found: Losses) -> Iterator[str]:
    """Yield a line for each thing that is lost, and one where nothing is."""
    lines = [*_things(found.database), *_counted(found.database)]
    lines += [words for name, words in _FILES.items() if name in found.files]
    yield from lines or ["nothing was changed since"]


def _things(found: Differences) -> Iterator[str]:
    for thing in found.things:
        yield from _of_a_kind(thing)
    if found.audit_entries:
        yield f"{found.audit_entries} entries of the audit log are gone"


def _of_a_kind(thing: Difference) -> Iterator[str]:
    for names, words in zip((thing.made, thing.removed, thing.changed), _THINGS[thing.kind], strict=True):
        if names:
            more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
            yield f"{thing.kind} {words}: {', '.join(names[:_NAMED])}{more}"


def _counted(found: Differences) -> Iterator[str]:
    if found.counted_bytes:
        again = found.counted_bytes - found.ended_bytes
        yield (
            f"traffic counted since: {short_bytes(again)} are counted again, as Xray still has their counters; "
            f"{short_bytes(found.ended_bytes)} are lost, from before it was restarted"
        )
