"""Everything that can go wrong in a way somebody can act on.

VpnKeysError
├── NotFound      the thing asked for does not exist            (404)
├── Rejected      the request cannot be granted as it stands    (400)
└── Unavailable   a part that is needed does not answer now     (503)

Each class has a `code`, a stable snake_case word for programs; the message is for people and says what to do next.
Anything that is raised and is not a VpnKeysError is a bug. Errors are translated once, at the edge.
"""

from typing import ClassVar


class VpnKeysError(Exception):
    """Base of all errors that are meant for whoever asked."""

    code: ClassVar[str] = "error"


class NotFound(VpnKeysError):
    """The thing asked for does not exist."""

    code = "not_found"


class KeyNotFound(NotFound):
    """No key has this id or UUID."""

    code = "key_not_found"


class BackupNotFound(NotFound):
    """There is no backup of this name."""

    code = "backup_not_found"


class TokenNotFound(NotFound):
    """No token has this id, or it opens nothing any more."""

    code = "token_not_found"


class Rejected(VpnKeysError):
    """The request cannot be granted as it stands; asking again changes nothing."""

    code = "rejected"


class InvalidName(Rejected):
    """A key's name is empty, too long, or has characters that no name has."""

    code = "invalid_name"


class InvalidNote(Rejected):
    """A key's note is too long, or has characters that no text has."""

    code = "invalid_note"


class InvalidSpan(Rejected):
    """A span of time ends before it begins."""

    code = "invalid_span"


class PortsExhausted(Rejected):
    """Every port of the range is taken."""

    code = "ports_exhausted"


class LegacyUnreadable(Rejected):
    """A file of an old installation is not what it should be."""

    code = "legacy_unreadable"


class SpeedLimitImpossible(Rejected):
    """This host cannot limit the speed of a port."""

    code = "speed_limit_impossible"


class IdempotencyKeyReused(Rejected):
    """The same Idempotency-Key came with two different bodies."""

    code = "idempotency_key_reused"


class Unavailable(VpnKeysError):
    """A part that is needed does not answer now; nothing was changed, and asking again may work."""

    code = "unavailable"


class XrayUnavailable(Unavailable):
    """Xray does not answer on its API."""

    code = "xray_unavailable"


class XrayRefused(Unavailable):
    """Xray answered, and would not take what it was given."""

    code = "xray_refused"


class ConfigUnwritable(Unavailable):
    """config.json cannot be written, so nothing was applied."""

    code = "config_unwritable"


class ConfigRefused(Unavailable):
    """Xray's own test finds config.json unfit, so it was not put in place."""

    code = "config_refused"


class TargetsUnready(Unavailable):
    """No configured server name can be handed out at the moment."""

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
    """The database does not answer, or is locked by somebody else."""

    code = "store_unavailable"
