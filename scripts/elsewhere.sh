#!/usr/bin/env bash
# Runs ./test as it would run on another machine; the last line is that of the tests. Needs root.
#   scripts/elsewhere.sh bare-root [ARGUMENTS OF ./test]   in a fresh minimal Debian that has nothing but a package manager
#   scripts/elsewhere.sh bare-user ...                     the same, as an ordinary user who may use sudo
#   scripts/elsewhere.sh one-core ...                      on the first core alone
#   scripts/elsewhere.sh loaded ...                        beside eight busy processes
#   scripts/elsewhere.sh abroad ...                        in another time zone and locale, twice in a row
# The bare systems are made with debootstrap under ${TMPDIR:-/tmp} and removed at the end. What is committed is tried.
set -euo pipefail
root=$(cd -P -- "$(dirname -- "${BASH_SOURCE[0]}")/.." >/dev/null && pwd)

. "$root/scripts/setup.sh"

work=$(mktemp -d "${TMPDIR:-/tmp}/vpnkeys-elsewhere-XXXXXX")
busy=()
finish() {
    ((${#busy[@]} == 0)) || kill "${busy[@]}" 2>/dev/null || true
    # Never through a mount that is still there: that would be this machine's own /dev.
    ! grep -q " $work/" /proc/self/mounts || return 0
    rm -rf --one-file-system "$work"
}
trap finish EXIT

# A stranger has a clean clone, not this tree with what lies around in it.
clone_to() { git clone --quiet --no-hardlinks "$root" "$1"; }

# Where this machine gets its packages from is where the new one does.
bare_system() {
    local system=$1 mirror suite component
    command -v debootstrap >/dev/null || install_packages debootstrap
    read -r mirror suite component < <(
        apt-get indextargets --format '$(REPO_URI) $(CODENAME) $(COMPONENT)' 'Created-By: Packages' | head -n 1
    )
    say "Making a minimal $suite in $system."
    debootstrap --variant=minbase --components="$component" --include=ca-certificates,git,sudo \
        "$suite" "$system" "$mirror" >"$work/debootstrap.log" 2>&1 || { tail "$work/debootstrap.log" >&2 && exit 1; }
    cp -a /etc/apt/sources.list* /etc/apt/apt.conf.d "$system/etc/apt/"
    cp -L /etc/resolv.conf /etc/hosts "$system/etc/"
    cp /etc/ssl/certs/ca-certificates.crt "$system/etc/ssl/certs/"
    ! [[ -e /etc/pip.conf ]] || cp /etc/pip.conf "$system/etc/"
    ! [[ -e $HOME/.npmrc ]] || cp "$HOME/.npmrc" "$system/root/"
}

# In namespaces of its own for mounts and processes, so that all of it goes when the tests end. The environment says
# where packages come from, and stays; the places of this machine's programs do not.
inside() {
    local system=$1 user=$2 home=$3
    shift 3
    unshare --mount --pid --fork --kill-child bash -euc '
        system=$1 user=$2 home=$3; shift 3
        mount --make-rprivate /
        mount --bind "$system" "$system"
        mount -t proc proc "$system/proc"
        mount --rbind /sys "$system/sys"
        mount --rbind /dev "$system/dev"
        mount -t tmpfs -o mode=1777 tmpfs "$system/tmp"
        mount -t tmpfs -o mode=755 tmpfs "$system/run"
        # Not chroot: a container made by the tests has to find a mount at its root, as it does on a machine.
        cd "$system"
        mkdir -p mnt/before
        pivot_root . mnt/before
        umount --lazy /mnt/before
        exec env -u TMPDIR -u XDG_CACHE_HOME -u PYENV_ROOT -u GOROOT HOME="$home" USER="$user" LOGNAME="$user" SHELL=/bin/bash \
            PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
            setpriv --reuid "$user" --regid "$user" --init-groups bash -c "cd \"\$HOME/vpnkeys\" && exec ./test \"\$@\" </dev/null" test "$@"
    ' unshare "$system" "$user" "$home" "$@"
}

bare_root() {
    bare_system "$work/system"
    clone_to "$work/system/root/vpnkeys"
    inside "$work/system" root /root "$@"
}

bare_user() {
    bare_system "$work/system"
    chroot "$work/system" useradd --create-home --shell /bin/bash tester
    echo 'Defaults env_keep += "*"' >"$work/system/etc/sudoers.d/tester"
    echo 'tester ALL=(ALL) NOPASSWD: ALL' >>"$work/system/etc/sudoers.d/tester"
    chmod 440 "$work/system/etc/sudoers.d/tester"
    clone_to "$work/system/home/tester/vpnkeys"
    ! [[ -e $HOME/.npmrc ]] || cp "$HOME/.npmrc" "$work/system/home/tester/"
    chroot "$work/system" chown -R tester:tester /home/tester
    inside "$work/system" tester /home/tester "$@"
}

here() {
    clone_to "$work/vpnkeys"
    (cd "$work/vpnkeys" && "$@" </dev/null)
}

loaded() {
    local _
    for _ in {1..8}; do
        # Two hours at the most, whatever becomes of this script.
        timeout 7200 bash -c 'while :; do :; done' &
        busy+=($!)
    done
    here ./test "$@"
}

abroad() {
    export TZ=Asia/Kathmandu LC_ALL=C
    here ./test "$@"
    (cd "$work/vpnkeys" && ./test "$@" </dev/null)
}

mode=${1:-}
(($# == 0)) || shift
case $mode in
    bare-root) bare_root "$@" ;;
    bare-user) bare_user "$@" ;;
    one-core) here taskset -c 0 ./test "$@" ;;
    loaded) loaded "$@" ;;
    abroad) abroad "$@" ;;
    *) sed -n '2,8s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2 && exit 2 ;;
esac
