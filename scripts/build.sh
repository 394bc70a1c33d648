#!/usr/bin/env bash
# Builds the packages of a release, of client and server the wheel and the source: scripts/build.sh [REVISION] [DIRECTORY]
# It packs what is committed (HEAD, dist/) and nothing else, and the same revision makes the same bytes everywhere.
set -euo pipefail
root=$(cd -P -- "$(dirname -- "${BASH_SOURCE[0]}")/.." >/dev/null && pwd)
. "$root/scripts/setup.sh"

[[ -x $root/.venv/bin/python ]] || setup run
revision=$(git -C "$root" rev-parse --verify "${1:-HEAD}^{commit}")
out=${2:-$root/dist}
mkdir -p "$out"
out=$(cd -P -- "$out" >/dev/null && pwd)
# The time of everything that is packed: that of the commit (https://reproducible-builds.org/specs/source-date-epoch/).
SOURCE_DATE_EPOCH=$(git -C "$root" log -1 --format=%ct "$revision")
export SOURCE_DATE_EPOCH
unset PYTHONPATH

tree=$(mktemp -d)
trap 'rm -rf -- "$tree"' EXIT
git -C "$root" archive "$revision" | tar -x -C "$tree"
# Packages are in no checkout that could be asked; `vpnkeys version --check` reads it here.
printf '{"revision": "%s"}\n' "$revision" >"$tree/src/vpnkeys/built.json"
for package in client .; do
    cd "$tree/$package"
    patiently "Building" "$root/.venv/bin/python" -I -m hatchling build -t sdist -t wheel -d "$out"
done
cd "$out"
sha256sum -- *.whl *.tar.gz
