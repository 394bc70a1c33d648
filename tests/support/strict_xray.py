"""Xray as newer versions treat clients: the pinned version, built with the lines by which those shut clients out.

Which rules apply is said in its environment: STRICT=version wants clients of 26.3.27 or later whatever minClientVer is,
STRICT=group wants the key share of X25519MLKEM768. `python -m tests.support.strict_xray` builds it.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.support.binaries import XRAY_VERSION, _cached
from vpnkeys.xray.process.gobuild import _find_go, tell, work_folder
from vpnkeys.xray.process.tried import MODULE

_XRAY = MODULE.removesuffix(f"/main@{MODULE.rpartition('@')[2]}")
_REALITY = "github.com/xtls/reality"
_BEFORE = "\t\t\tfor peerPub != nil {\n"
_GROUP = """\t\t\tif strings.Contains(os.Getenv("STRICT"), "group") {
\t\t\t\tif len(hs.clientHello.keyShares) == 0 || !slices.ContainsFunc(hs.clientHello.keyShares,
\t\t\t\t\tfunc(share keyShare) bool { return share.group == X25519MLKEM768 }) {
\t\t\t\t\tpeerPub = nil
\t\t\t\t}
\t\t\t}
"""
_CHECK = "\t\t\t\tif (config.MinClientVer == nil ||"
_VERSION = """\t\t\t\tif strings.Contains(os.Getenv("STRICT"), "version") {
\t\t\t\t\tconfig.MinClientVer = []byte{26, 3, 27}
\t\t\t\t}
"""
_IMPORT = 'import (\n\t"os"\n\t"slices"\n\t"strings"\n'


def strict_xray() -> Path:
    """Where it is, if it is there."""
    return _cached("strict-xray", XRAY_VERSION)


def _patched(text: str) -> str:
    """The server's side of the handshake with the rules of newer versions."""
    present = {f'\t"{name}"\n' for name in ("os", "slices", "strings")}
    for line in present:
        text = text.replace(line, "", 1)
    for place, more in ((_BEFORE, _GROUP), (_CHECK, _VERSION)):
        if text.count(place) != 1:
            raise SystemExit("xtls/reality is not as it was when tests/support/strict_xray.py was written")
        text = text.replace(place, more + place)
    return text.replace("import (\n", _IMPORT, 1)


def main() -> int:
    """Build it into the cache, unless it is there."""
    program = strict_xray()
    with work_folder(program.parent, tell) as work:
        if program.exists():
            return 0
        go, version, own = _find_go(work, tell)
        environment = {**os.environ, "CGO_ENABLED": "0", "GOTOOLCHAIN": "local", **own}

        def run(*command: str) -> str:
            return subprocess.run(
                [go, *command], cwd=work, env=environment, check=True, stdout=subprocess.PIPE, text=True
            ).stdout

        (work / "go.mod").write_text(f"module tests\n\ngo 1.26\n\nrequire {_XRAY} {MODULE.rpartition('@')[2]}\n")
        run("mod", "download", _XRAY)
        place = run("list", "-mod=mod", "-m", "-json", _REALITY)
        source = Path(json.loads(place).get("Dir") or json.loads(run("mod", "download", "-json", _REALITY))["Dir"])
        shutil.copytree(source, work / "reality", copy_function=shutil.copyfile)
        (work / "reality" / "tls.go").write_text(_patched((source / "tls.go").read_text()))
        with (work / "go.mod").open("a") as file:
            file.write(f"\nreplace {_REALITY} => ./reality\n")
        tell(f"Building a strict Xray with {version}; this takes a minute or two.")
        run("build", "-mod=mod", "-trimpath", "-ldflags=-s -w", "-o", str(work / "strict-xray"), f"{_XRAY}/main")
        (work / "strict-xray").replace(program)
    return 0


if __name__ == "__main__":
    sys.exit(main())
