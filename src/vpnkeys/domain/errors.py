"""The errors that a user or operator can act on.

VpnKeysError
├── NotFound      the thing asked for does not exist            (404)
├── Rejected      the request cannot be granted as it stands    (400)
└── Unavailable   a part that is needed does not answer now     (503)

Each class has a `code`, a stable snake_case word for programs; the message is for people and says what to do next.
Modules define further subclasses beside the code that raises them. Any other exception that reaches the API or the
command line is a bug. Errors become HTTP answers in `api/errors.py` and exit codes in `cli`, and nowhere else.
"""

from typing import ClassVar


class VpnKeysError(Exception):
    """Base of all errors whose message may be shown to the caller."""

    code: ClassVar[str] = "error"


class NotFound(VpnKeysError):
    """The thing asked for does not exist."""

    code = "not_found"


class KeyNotFound(NotFound):
    """No key has this id or UUID."""

    code = "key_not_found"


class NodeNotFound(NotFound):
    """No node has this id or name."""

    code = "node_not_found"


class DoorNotFound(NotFound):
    """No door has this tag."""

    code = "door_not_found"


class BackupNotFound(NotFound):
    """No backup has this name."""

    code = "backup_not_found"


class TokenNotFound(NotFound):
    """No token has this id, or the token is revoked or expired."""

    code = "token_not_found"


class Rejected(VpnKeysError):
    """The request cannot be granted as it stands; repeating it gives the same answer."""

    code = "rejected"


class InvalidName(Rejected):
    """A key's name is empty, too long, or holds control characters or lone surrogates."""

    code = "invalid_name"


class InvalidNote(Rejected):
    """A key's note is too long, or holds control characters or lone surrogates."""

    code = "invalid_note"


class InvalidChoice(Rejected):
    """A UUID, short id, server name, port or node that was asked for is not one, or is not this server's."""

    code = "invalid_choice"


class AlreadyTaken(Rejected):
    """A UUID, short id or port that was asked for belongs to another key, or the port to another owner."""

    code = "already_taken"


class KeyAmbiguous(Rejected):
    """What was asked for is the id of one key and the UUID of another."""

    code = "key_ambiguous"


class KeyElsewhere(Rejected):
    """What was asked for is done on the built-in node only, and the key or the node is another."""

    code = "key_elsewhere"


class NodeNotEmpty(Rejected):
    """A node that has keys cannot be removed."""

    code = "node_not_empty"


class InvalidFingerprint(Rejected):
    """A fingerprint is unknown, or lets no client in."""

    code = "invalid_fingerprint"


class NothingToRotate(Rejected):
    """A request for a new identity names no part of it."""

    code = "nothing_to_rotate"


class InvalidPage(Rejected):
    """A page of a list begins nowhere, or has no keys or too many."""

    code = "invalid_page"


class InvalidSpan(Rejected):
    """A span of time ends before it begins."""

    code = "invalid_span"


class PortsExhausted(Rejected):
    """Every port of the range is taken."""

    code = "ports_exhausted"


class LegacyUnreadable(Rejected):
    """A file of an old installation or of another panel does not have the expected content."""

    code = "legacy_unreadable"


class SpeedLimitImpossible(Rejected):
    """This host cannot limit the speed of a port."""

    code = "speed_limit_impossible"


class IdempotencyKeyReused(Rejected):
    """An Idempotency-Key was sent again with another body."""

    code = "idempotency_key_reused"


class Unavailable(VpnKeysError):
    """A needed part does not answer now. Nothing was changed except what the message names; a repeat may work."""

    code = "unavailable"


class XrayUnavailable(Unavailable):
    """Xray does not answer on its API."""

    code = "xray_unavailable"


class XrayRefused(Unavailable):
    """Xray answered with an error to a change of its inbounds."""

    code = "xray_refused"


class PortTaken(XrayRefused):
    """Another program listens on the port of a key, so that Xray cannot."""

    code = "port_taken"


class DoorRefused(XrayRefused):
    """Xray refused doors, and took all else of a plan. `tags` are theirs."""

    def __init__(self, message: str, tags: tuple[str, ...] = ()) -> None:
        """Make the error for doors with these tags."""
        super().__init__(message)
        self.tags = tags


class ConfigUnwritable(Unavailable):
    """config.json cannot be written, so nothing was applied."""

    code = "config_unwritable"


class ConfigRefused(Unavailable):
    """Xray's own test (`xray -test`) rejects the new config.json, so the old one was kept."""

    code = "config_refused"


class StopPending(Unavailable):
    """The stop of keys is stored, but the node has not confirmed it yet."""

    code = "stop_pending"


class NodeSilent(Unavailable):
    """A node elsewhere was not heard of, or has not confirmed a change in time."""

    code = "node_silent"


class NodeRefused(Unavailable):
    """A node elsewhere cannot have a key as it should be: its port is taken there, or its speed cannot be limited."""

    code = "node_refused"


class KeysChangedMeanwhile(Unavailable):
    """Another process changed the keys between a decision and its commit."""

    code = "keys_changed_meanwhile"


class NotWritten(Unavailable):
    """Keys are stopped, but this could not be stored yet; the message says whether the node has confirmed it."""

    code = "not_written"


class ServerEnding(Unavailable):
    """The server ends, and begins no more changes."""

    code = "server_ending"


class TargetsUnready(Unavailable):
    """No configured server name is ready for new keys now."""

    code = "targets_unready"


class SelfTestBusy(Unavailable):
    """Another key is being tested."""

    code = "self_test_busy"


class KeyPairDamaged(Unavailable):
    """The stored REALITY key pair cannot be read."""

    code = "key_pair_damaged"


class BackupFailed(Unavailable):
    """A backup could not be made."""

    code = "backup_failed"


class StoreUnavailable(Unavailable):
    """The database does not answer, or another process holds its lock."""

    code = "store_unavailable"


class WaitsElsewhere(StoreUnavailable):
    """An event loop has asked what it must not wait for: a database elsewhere, which a thread may ask."""


class DatabaseDamaged(StoreUnavailable):
    """The content of the database cannot be read; a backup has to be restored."""

    code = "database_damaged"


class DatabaseMoved(StoreUnavailable):
    """All data are in another database now, which the settings of this server do not name yet."""


class CommitUnknown(StoreUnavailable):
    """The connection was lost during a commit, so that nobody knows whether the change is stored."""

    code = "commit_unknown"


class StartRefused(VpnKeysError):
    """The database or a secret is lost although there were keys, and a start would make an empty one."""

    code = "start_refused"
