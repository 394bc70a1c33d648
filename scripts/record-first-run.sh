#!/usr/bin/env bash
# Records the README's commands on a fresh Debian that is booted for it, as root, into docs/first-run.cast:
#   sudo scripts/record-first-run.sh [FILE]      and to look at it:  asciinema play docs/first-run.cast
set -euo pipefail
root=$(cd -P -- "$(dirname -- "${BASH_SOURCE[0]}")/.." >/dev/null && pwd)
. "$root/scripts/setup.sh"
setup dev
file=$(realpath -- "${1:-$root/docs/first-run.cast}")
cd "$root"
exec .venv/bin/python -m tests.support.recording "$file"
