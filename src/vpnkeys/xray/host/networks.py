"""The networks that customers must not reach through this server."""

# Loopback, private, link-local (cloud metadata is there),
# carrier-grade NAT, multicast and reserved ranges; and the IPv6 ranges that carry IPv4 addresses inside
# (IPv4-compatible, NAT64, 6to4, Teredo), whose inner address nothing would check. IPv4-mapped ones need
# no entry: Xray takes them as the IPv4 address that they are (`IPAddress` in common/net/address.go).
PRIVATE_NETWORKS = (
    "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
    "192.0.2.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/3",
    "::/96", "64:ff9b::/96", "64:ff9b:1::/48", "100::/64", "2001::/32", "2002::/16", "fc00::/7", "fe80::/10",
    "fec0::/10", "ff00::/8",
)  # fmt: skip
