"""A source tree that needs one package alone, which leads to the libraries of an environment that is there.

Its release is made as any other is, with a hash for all that is installed, in a tenth of the time.
"""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path

_NAME, _VERSION = "borrowed_libraries", "1"


def borrow_libraries(tree: Path, libraries: str) -> None:
    """Make the requirements of a tree this package, which is put beside the tree; pip has to look there."""
    wheel = tree.parent / f"{_NAME}-{_VERSION}-py3-none-any.whl"
    info = f"{_NAME}-{_VERSION}.dist-info"
    files = {
        f"{_NAME}.pth": f"{libraries}\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {_NAME}\nVersion: {_VERSION}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files[f"{info}/RECORD"] = "".join(f"{name},,\n" for name in (*files, f"{info}/RECORD"))
    with zipfile.ZipFile(wheel, "w") as packed:
        for name, text in files.items():
            packed.writestr(zipfile.ZipInfo(name), text)
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    (tree / "requirements.txt").write_text(f"{_NAME}=={_VERSION} --hash=sha256:{digest}\n")
