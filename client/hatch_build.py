"""Puts the client's modules into its packages: from the tree of the server, or from `src` of the client's own sdist."""

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class Modules(BuildHookInterface[Any]):
    """Adds the rooms of the package `vpnkeys` that are the client's."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002 - hatchling's own
        """Name them, where hatchling looks for what is to be packed."""
        own, servers = Path(self.root, "src"), Path(self.root).parent / "src"
        source = own if own.is_dir() else servers
        place = "vpnkeys" if self.target_name == "wheel" else "src/vpnkeys"
        for room in ("client", "wire"):
            build_data["force_include"][str(source / "vpnkeys" / room)] = f"{place}/{room}"
