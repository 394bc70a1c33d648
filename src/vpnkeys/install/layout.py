"""The paths of an installation."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from vpnkeys.files import sync_directory
from vpnkeys.settings import SYSTEM_DATA_DIR


@dataclass(frozen=True, slots=True)
class Layout:
    """The paths of an installation. The units name the same ones; a test compares them."""

    opt: Path = Path("/opt/vpnkeys")
    data_dir: Path = SYSTEM_DATA_DIR
    wrapper: Path = Path("/usr/local/bin/vpnkeys")
    units: Path = Path("/etc/systemd/system")

    @property
    def releases(self) -> Path:
        """The directory of all releases."""
        return self.opt / "releases"

    @property
    def current(self) -> Path:
        """The link to the release in use."""
        return self.opt / "current"

    @property
    def xrays(self) -> Path:
        """The directory of all Xray versions, with a link `current`."""
        return self.opt / "xray"

    @property
    def current_xray(self) -> Path:
        """The Xray in use, through the link."""
        return self.xrays / "current" / "xray"

    @property
    def env_file(self) -> Path:
        """The operator's settings file."""
        return self.data_dir / "vpnkeys.env"

    @property
    def node_file(self) -> Path:
        """The file that says of which control plane this host is a node; a server has none."""
        return self.data_dir / "agent.json"


def point(link: Path, target: Path) -> None:
    """Make a symbolic link, or replace one, in one durable step. The target must be in the link's directory or below.

    The new link is made under another name and renamed: rename(2) replaces the old one atomically.
    """
    fresh = link.with_name(f".{link.name}.new")
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(target.relative_to(link.parent))
    fresh.replace(link)
    sync_directory(link.parent)


def led_to(link: Path) -> Path | None:
    """Return the directory that a link leads to, or None."""
    return link.resolve() if link.is_symlink() and link.is_dir() else None


def write_wrapper(path: Path, source: Path) -> None:
    """Write the `vpnkeys` command that users call."""
    fresh = path.with_name(f".{path.name}.new")
    path.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, fresh)
    fresh.chmod(0o755)
    # Replaced, not overwritten: a shell reads a script while it runs it.
    fresh.replace(path)
