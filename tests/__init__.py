"""The tests of vpnkeys."""
