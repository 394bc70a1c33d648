"""vpnkeys as services of systemd: installed, upgraded with a way back, and removed. Root's work, on this host alone."""
