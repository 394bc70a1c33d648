# Sourced by ./run and ./test, which set $root. Promise: after `setup run` (or `setup dev`), "$root/.venv" holds this
# project and everything it needs, each file checked by its hash. When nothing changed it costs a few milliseconds.
# shellcheck shell=bash disable=SC2154

say() { printf '%s\n' "$*" >&2; }

die() {
    say "$@"
    exit 1
}

# As root, or by sudo; where neither is to be had, say what to type and stop.
install_packages() {
    local as_root=()
    ((EUID == 0)) || as_root=(sudo)
    # Nobody is there to type a password: fail at once instead of asking.
    ((EUID == 0)) || [[ -t 0 ]] || as_root+=(-n)
    if ! command -v apt-get >/dev/null || { ((EUID != 0)) && ! command -v sudo >/dev/null; }; then
        die "Please run this as root, then try again:  apt-get update && apt-get install -y $*"
    fi
    say "Installing $* with apt-get."
    {
        "${as_root[@]}" apt-get update -qq &&
            "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@"
    } >&2 || die "That did not work. Please run as root:  apt-get update && apt-get install -y $*"
}

# The newest Python that can make a complete virtual environment; else the newest that is new enough at all.
# Each is asked, not believed by name: a pyenv shim of that name may lead nowhere.
find_python() {
    local name bare=
    for name in python3.14 python3.13 python3.12 python3.11 python3; do
        "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue
        "$name" -c 'import ensurepip, venv' 2>/dev/null && echo "$name" && return
        bare=${bare:-$name}
    done
    [[ -n $bare ]] && echo "bare"
}

choose_python() {
    if ! python=$(find_python); then
        say "vpnkeys needs Python 3.11 or later, and there is none on this machine."
        install_packages python3 python3-venv
        python=$(find_python) || die "The newest Python that apt-get has here is older than 3.11." \
            "Debian 12 and Ubuntu 24.04 have one that is new enough."
    fi
    [[ $python == bare ]] || return 0
    say "Python is here, but not its venv module, which keeps this project's packages apart from the system's."
    install_packages python3-venv
    python=$(find_python)
    [[ $python != bare ]] || die "python3-venv is installed, but no Python from 3.11 on can use it." \
        "Please install the venv package of your newest Python, such as python3.12-venv."
}

# A virtual environment cannot be moved, and breaks when a system upgrade puts another Python behind its link.
whereabouts() { echo "$root" && readlink -f "$venv/bin/python"; }

fingerprint() { cat "$root/pyproject.toml" "$root/scripts/setup.sh" "$root/$requirements" | sha256sum; }

# `made-for` goes before the first change and comes back after the last one, so what was interrupted is never whole.
is_whole() { [[ -f $venv/made-for && $(<"$venv/made-for") == "$(whereabouts)" ]]; }

is_ready() { is_whole && [[ -f $stamp && $(<"$stamp") == "$(fingerprint)" ]]; }

make_environment() {
    [[ ! -e $venv ]] || say "The environment in .venv is unfinished, moved or out of date: making it again."
    choose_python
    say "Making a Python environment in .venv ($("$python" --version))."
    rm -f "$venv/made-for"
    rm -rf "$venv"
    "$python" -m venv "$venv"
}

fill_environment() {
    local pip=("$venv/bin/python" -m pip --quiet --disable-pip-version-check install)
    say "Installing the packages of $requirements, each checked by its hash; the first time takes a minute or two."
    rm -f "$venv/made-for" "$stamp"
    "${pip[@]}" --require-hashes --only-binary=:all: -r "$root/$requirements"
    "${pip[@]}" --no-index --no-deps --no-build-isolation -e "$root"
    fingerprint >"$stamp"
    whereabouts >"$venv/made-for"
    say "Set up."
}

setup() {
    requirements=requirements.txt
    [[ $1 == run ]] || requirements=requirements-$1.txt
    venv=$root/.venv
    stamp=$venv/stamp-$1
    is_ready && return
    # One at a time: a second ./run waits here, and then finds everything done.
    (
        flock 9
        is_ready && exit
        is_whole || make_environment
        fill_environment
    ) 9>"$root/.venv.lock"
}
