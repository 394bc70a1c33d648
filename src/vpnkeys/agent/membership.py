"""What an agent keeps on its own disk: which node it is, and what it was last wanted to have."""

from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import orjson
from pydantic import TypeAdapter, ValidationError

from vpnkeys.domain.portpool import parse_range
from vpnkeys.files import write_atomically
from vpnkeys.wire.agents import Desired

MEMBERSHIP_FILE = "agent.json"
DESIRED_FILE = "desired.json"

MOST_TOKENS = 3
"""One is renewed every 30 days: a backup of the control plane that is no older than two months knows one of these."""


@dataclass(frozen=True, slots=True)
class Membership:
    """Says which node this is, of which control plane. `fingerprint` is None where an authority vouches for that.

    `former` are the tokens before the present one, newest first. A control plane gives a token up as soon as the next
    one was used, so that a former one opens nothing; but where a backup from before the renewal is
    restored, the control plane knows only a former one, and the present one opens nothing.
    """

    url: str
    node: str
    token: str = field(repr=False)
    fingerprint: str | None
    port_range: str
    former: tuple[str, ...] = field(default=(), repr=False)

    @property
    def tokens(self) -> tuple[str, ...]:
        """All tokens, newest first."""
        return (self.token, *self.former)

    def with_tokens(self, tokens: tuple[str, ...]) -> "Membership":
        """Return the membership with these tokens, newest first."""
        return replace(self, token=tokens[0], former=tokens[1:])

    def save(self, data_dir: Path) -> None:
        """Write it to its file, which only its owner can read. Raises OSError."""
        write_atomically(data_dir / MEMBERSHIP_FILE, orjson.dumps(asdict(self), option=orjson.OPT_INDENT_2))


_MEMBERSHIP = TypeAdapter(Membership)


def load_membership(data_dir: Path) -> Membership | None:
    """Return what was saved; None when this is no node. Raises OSError, and ValueError for a damaged file."""
    try:
        found = _MEMBERSHIP.validate_json((data_dir / MEMBERSHIP_FILE).read_bytes())
        parse_range(found.port_range)
    except FileNotFoundError:
        return None
    except ValueError as error:
        msg = f"{data_dir / MEMBERSHIP_FILE} is damaged: remove it, and join with a new token"
        raise ValueError(msg) from error
    return found


class Kept(Desired):
    """What a node should have, with how many seconds its host's clock was ahead of the control plane's."""

    ahead_s: int = 0


@dataclass(frozen=True, slots=True)
class DesiredFile:
    """Keeps what the node should have, so that it holds without the control plane, also after a restart."""

    path: Path

    def write(self, desired: Kept) -> None:
        """Keep it; when this returns, it is on the disk. Raises OSError."""
        write_atomically(self.path, desired.model_dump_json().encode())

    def read(self) -> Kept | None:
        """Return what was kept last; None when nothing was, or nothing that can be read."""
        try:
            return Kept.model_validate_json(self.path.read_bytes())
        except (OSError, ValidationError):
            return None
