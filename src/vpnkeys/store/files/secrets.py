"""Reads and writes the secrets of the data directory: the REALITY key pair and the hash of the API key."""

import hashlib
import hmac
import json
import secrets
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from vpnkeys.domain.reality import KeyPair
from vpnkeys.files import write_atomically

REALITY_FILE = "reality.json"
API_KEY_FILE = "api-key.json"


def load_key_pair(data_dir: Path) -> KeyPair:
    """Return the server's REALITY key pair; the first call creates it. Raises ValueError when the file is damaged.

    A stored public key that does not belong to the private one is corrected: links contain the public key, and clients
    could not connect with the wrong one.
    """
    path = data_dir / REALITY_FILE
    if not path.exists():
        return save_key_pair(data_dir, KeyPair.new())
    stored, pair = _read_key_pair(path)
    return pair if pair == stored else save_key_pair(data_dir, pair)


def _read_key_pair(path: Path) -> tuple[KeyPair, KeyPair]:
    """Return the key pair as it is stored, and as its private key makes it."""
    try:
        stored = KeyPair(**json.loads(path.read_text(encoding="utf-8")))
        return stored, KeyPair.of_private(stored.private_key)
    except (AttributeError, TypeError, ValueError) as error:
        msg = f"{path} is damaged; restore it from a backup: without this pair every customer needs a new link"
        raise ValueError(msg) from error


def unfit_secrets(data_dir: Path, *, is_api_key_given: bool) -> tuple[str, ...]:
    """Return the names of the files that are missing or damaged, so that the next start is refused."""
    checks = ((REALITY_FILE, _read_key_pair, True), (API_KEY_FILE, _read_api_key, not is_api_key_given))
    return tuple(name for name, read, is_needed in checks if not _is_fit(data_dir / name, read, is_needed=is_needed))


def _is_fit(path: Path, read: Callable[[Path], object], *, is_needed: bool) -> bool:
    try:
        read(path)
    except FileNotFoundError:
        return not is_needed
    except (OSError, ValueError):
        return False
    return True


def save_key_pair(data_dir: Path, pair: KeyPair) -> KeyPair:
    """Write the key pair to its file; return it."""
    write_atomically(data_dir / REALITY_FILE, json.dumps(asdict(pair), indent=2).encode() + b"\n")
    return pair


@dataclass(frozen=True, slots=True)
class ApiKeyHash:
    """The salted BLAKE2b hash of an API key; both fields are hex."""

    salt: str
    digest: str

    @classmethod
    def of(cls, api_key: str) -> "ApiKeyHash":
        """Return the hash of a key, with a new salt."""
        salt = secrets.token_hex(16)
        return cls(salt, _digest(api_key, salt))

    def matches(self, candidate: str) -> bool:
        """Return whether this is the key, in the same time for every wrong one."""
        return hmac.compare_digest(_digest(candidate, self.salt), self.digest)


def load_api_key(data_dir: Path, given: str | None) -> tuple[ApiKeyHash, str | None]:
    """Return the API key's hash, and the key itself when this call created it: it is stored nowhere.

    A key that is `given` replaces the stored one. Raises ValueError when the file is damaged.
    """
    path = data_dir / API_KEY_FILE
    stored = _read_api_key(path) if path.exists() else None
    if given is None and stored is not None:
        return stored, None
    if given is not None and stored is not None and stored.matches(given):
        return stored, None
    made = secrets.token_urlsafe(32) if given is None else None
    fresh = ApiKeyHash.of(given or made or "")
    try:
        write_atomically(path, json.dumps(asdict(fresh)).encode() + b"\n")
    except OSError:
        if given is None:
            raise
        # A full or read-only disk. This start has the key, and the next one is given it again.
    return fresh, made


def _read_api_key(path: Path) -> ApiKeyHash:
    try:
        stored = ApiKeyHash(**json.loads(path.read_text(encoding="utf-8")))
        stored.matches("")  # raises ValueError when the salt is not hex
    except (TypeError, ValueError) as error:
        msg = f"{path} is damaged; remove it to have a new API key made, or give one as VPNKEYS_API_KEY"
        raise ValueError(msg) from error
    return stored


def _digest(api_key: str, salt: str) -> str:
    """Return the keyed BLAKE2b-256 digest in hex."""
    # One round, not a slow hash: a random key cannot be guessed, and this runs for every request.
    return hashlib.blake2b(
        api_key.encode("utf-8", "surrogatepass"), key=bytes.fromhex(salt), digest_size=32
    ).hexdigest()
