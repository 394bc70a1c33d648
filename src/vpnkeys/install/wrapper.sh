#!/bin/sh
# Written by `vpnkeys install`: the release in use, with the settings of the services.
: "${VPNKEYS_DATA_DIR:=/var/lib/vpnkeys}"
: "${VPNKEYS_XRAY_SUPERVISOR:=systemd}"
: "${VPNKEYS_XRAY_BIN:=/opt/vpnkeys/xray/current/xray}"
export VPNKEYS_DATA_DIR VPNKEYS_XRAY_SUPERVISOR VPNKEYS_XRAY_BIN
vpnkeys=/opt/vpnkeys/current/venv/bin/vpnkeys
case "$(id -u) ${1-}" in
    "0 restore" | "0 import")
        # What root writes there is the server's.
        "$vpnkeys" "$@"
        status=$?
        chown -R --no-dereference vpnkeys:vpnkeys "$VPNKEYS_DATA_DIR"
        exit $status
        ;;
esac
exec "$vpnkeys" "$@"
