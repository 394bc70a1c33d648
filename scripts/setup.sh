# Sourced by ./run and ./test, which set $root. Promise: after `setup run` (or `setup dev`), "$root/.venv" holds this
# project and everything it needs, each file checked by its hash. When nothing changed it costs a few milliseconds.
# shellcheck shell=bash disable=SC2154

say() { printf '%s\n' "$*" >&2; }

die() {
    say "$@"
    exit 1
}

# Runs a command that may take minutes: every ten seconds a line says what is waited for. Its output is shown when it
# fails, with a sentence for those failures that have one.
patiently() {
    local what=$1 began=$SECONDS status=0 ticker words
    shift
    words=$(mktemp)
    # The sleep keeps no descriptor of ours: who waits for the end of our output would wait for it too.
    while sleep 10 </dev/null >/dev/null 2>&1 9>&- && kill -0 $$; do say "$what: $((SECONDS - began)) s"; done 9>&- &
    ticker=$!
    "$@" >"$words" 2>&1 || status=$?
    kill "$ticker" 2>/dev/null || true
    wait "$ticker" 2>/dev/null || true
    if ((status)); then
        tail -n 5 "$words" >&2
        explain "$(<"$words")"
    fi
    rm -f "$words"
    return "$status"
}

explain() {
    case $1 in
        *"No space left on device"*) say "The disk is full: df -h $root shows it. Free some space, then try again." ;;
        *"Temporary failure in name resolution"* | *"Could not resolve"* | *"Name or service not known"* | \
            *"Failed to establish a new connection"* | *"Network is unreachable"*)
            say "This machine does not reach the internet, or needs a proxy for that (export https_proxy=...)."
            ;;
        *"Could not get lock"* | *"dpkg was interrupted"*)
            say "Another program installs packages, or one was interrupted: dpkg --configure -a, then try again."
            ;;
    esac
}

# One of apt's sites, or nothing where it needs none. Asked before apt, which waits minutes for a network that is not there.
unreachable_site() {
    local site host port
    { apt-config dump | grep -qi '^Acquire::.*Proxy'; } 2>/dev/null || [[ -n ${http_proxy:-}${https_proxy:-} ]] && return
    for site in $(apt-get indextargets --format '$(SITE)' "Created-By: Packages" 2>/dev/null | sort -u); do
        [[ $site == http* ]] || return 0
        port=80
        [[ $site == http:* ]] || port=443
        host=${site#*://}
        host=${host%%/*}
        [[ $host != *:* ]] || { port=${host##*:} && host=${host%:*}; }
        timeout 10 bash -c ": <>/dev/tcp/$host/$port" 2>/dev/null && return
    done
    echo "${host:-}"
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
    local site
    site=$(unreachable_site)
    [[ -z $site ]] || die "$* must be installed, and apt-get does not reach $site: check this machine's network and DNS."
    say "Installing $* with apt-get; this takes up to a few minutes."
    patiently "apt-get update" "${as_root[@]}" apt-get update -qq &&
        patiently "apt-get install" "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
            apt-get install -y -qq --no-install-recommends "$@" ||
        die "That did not work. Please run as root:  apt-get update && apt-get install -y $*"
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
    patiently "Making the environment" "$python" -m venv "$venv" ||
        die "$python could not make $venv: is the disk full (df -h), or may this user not write there?"
}

fill_environment() {
    local pip=("$venv/bin/python" -m pip --quiet --disable-pip-version-check install)
    say "Installing the packages of $requirements, each checked by its hash; the first time takes a minute or two."
    rm -f "$venv/made-for" "$stamp"
    # The client, a distribution of its own (client/), has its files in src/ too, which is all that an editable one is.
    patiently "Installing packages" "${pip[@]}" --require-hashes --only-binary=:all: -r "$root/$requirements" &&
        patiently "Installing vpnkeys" "${pip[@]}" --no-index --no-deps --no-build-isolation -e "$root" ||
        die "The packages of $requirements could not be installed. Run this again when that is mended."
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
