"""Prints the path of the Xray to use: `python -m vpnkeys.xray.binary [PATH]`.

An upgrade runs this module of the other release, older or newer, so its name must stay.
"""

import sys

from vpnkeys.xray.process.binary import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
