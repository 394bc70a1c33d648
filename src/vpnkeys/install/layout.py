"""Where an installation has its parts."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from vpnkeys.files import sync_directory
from vpnkeys.settings import SYSTEM_DATA_DIR


@dataclass(frozen=True, slots=True)
class Layout:
    """The places. The units name the same ones; a test holds them together."""

    opt: Path = Path("/opt/vpnkeys")
    data_dir: Path = SYSTEM_DATA_DIR
    wrapper: Path = Path("/usr/local/bin/vpnkeys")
    units: Path = Path("/etc/systemd/system")

    @property
    def releases(self) -> Path:
        """A directory for each release."""
        return self.opt / "releases"

    @property
    def current(self) -> Path:
        """The link to the release in use."""
        return self.opt / "current"

    @property
    def xrays(self) -> Path:
        """A directory for each Xray, and a link `current`."""
        return self.opt / "xray"

    @property
    def current_xray(self) -> Path:
        """The Xray in use, by the link."""
        return self.xrays / "current" / "xray"

    @property
    def env_file(self) -> Path:
        """The operator's settings."""
        return self.data_dir / "vpnkeys.env"


def point(link: Path, target: Path) -> None:
    """Let a link lead to a neighbour, or something below it, in one durable step, whatever it led to before."""
    fresh = link.with_name(f".{link.name}.new")
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(target.relative_to(link.parent))
    fresh.replace(link)
    sync_directory(link.parent)


def led_to(link: Path) -> Path | None:
    """The directory that a link leads to, or None."""
    return link.resolve() if link.is_symlink() and link.is_dir() else None


def write_wrapper(path: Path) -> None:
    """The command for people."""
    source = Path(__file__).with_name("wrapper.sh")
    fresh = path.with_name(f".{path.name}.new")
    path.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, fresh)
    fresh.chmod(0o755)
    fresh.replace(path)
