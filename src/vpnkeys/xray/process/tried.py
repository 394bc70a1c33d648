"""The versions of Xray that were tried with this version of vpnkeys, and what is known of others."""

from dataclasses import dataclass

XRAY_VERSION = "26.3.27"
"""The version that is fetched or built where there is none."""

# Bounds for an Xray of the operator's own. Before the first, ReceiverConfig of its API has other fields, so that it
# refuses each inbound that is added (25.9.11, tried). From the second on Xray shuts out clients that are widely used.
OLDEST_FIT = "25.10.15"
FIRST_UNFIT = "26.7.11"


@dataclass(frozen=True, slots=True)
class Tried:
    """A version that was tried, and its Go module, from which it can be built."""

    version: str
    module: str


TRIED = (
    Tried(OLDEST_FIT, "v1.251015.0"),
    Tried(XRAY_VERSION, "v1.260327.0"),
)
"""The table in docs/en/install.md says what was run with each; a test compares the two."""

MODULE = f"github.com/xtls/xray-core/main@{TRIED[-1].module}"


def numbers(version: str) -> tuple[int, ...]:
    """Return a version as numbers, which compare in the right order."""
    return tuple(map(int, version.split(".")))


def is_tried(version: str) -> bool:
    """Return whether a version was tried with this version of vpnkeys."""
    return any(one.version == version for one in TRIED)


def tried_versions() -> str:
    """Return the versions that were tried, for a sentence."""
    return ", ".join(one.version for one in TRIED)
