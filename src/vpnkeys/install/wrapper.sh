#!/bin/sh
# Written by `vpnkeys install`. It runs the release in use with the settings of the services.
: "${VPNKEYS_DATA_DIR:=/var/lib/vpnkeys}"
: "${VPNKEYS_XRAY_SUPERVISOR:=systemd}"
: "${VPNKEYS_XRAY_BIN:=/opt/vpnkeys/xray/current/xray}"
export VPNKEYS_DATA_DIR VPNKEYS_XRAY_SUPERVISOR VPNKEYS_XRAY_BIN
vpnkeys=/opt/vpnkeys/current/venv/bin/vpnkeys
case "$(id -u) $* " in
    "0 database load "*" --trial "*) ;; # beside the running server
    "0 restore "* | "0 import "* | "0 database move "* | "0 database migrate "* | "0 database load "*)
        # The server must not run meanwhile, so it is stopped; Xray and its connections go on.
        serves=
        if [ "$VPNKEYS_DATA_DIR" = /var/lib/vpnkeys ] && systemctl is-active --quiet vpnkeys.service; then
            echo "vpnkeys.service is stopped for now; open VPN connections go on." >&2
            serves=yes
            systemctl stop vpnkeys-traffic.timer vpnkeys.service
        fi
        # It writes there as the server's user, so that no link there leads root elsewhere.
        "$vpnkeys" "$@"
        status=$?
        if [ "$serves" ]; then
            systemctl start vpnkeys.service vpnkeys-traffic.timer || status=1
            echo "vpnkeys.service is started again." >&2
        fi
        exit $status
        ;;
esac
exec "$vpnkeys" "$@"
