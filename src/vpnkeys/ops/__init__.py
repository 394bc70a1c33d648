"""Operations of a running or stopped server: its data directory, backups, monitoring, and adopting a running Xray."""
