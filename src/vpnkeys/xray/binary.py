"""`python -m vpnkeys.xray.binary [PATH]` prints the path of the Xray to use.

An upgrade asks this of the other release, older or newer, so the name of this module stays.
"""

import sys

from vpnkeys.xray.process.binary import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
