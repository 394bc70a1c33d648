"""`python -m vpnkeys` is `vpnkeys`."""

from vpnkeys.cli import main

if __name__ == "__main__":
    main()
