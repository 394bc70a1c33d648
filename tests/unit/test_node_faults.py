"""Faults of a node that come together: config.json cannot be written, and Xray does not follow."""

from pathlib import Path
from unittest.mock import Mock

import pytest
from tests.unit.test_config import inbound_of

from vpnkeys.domain.errors import ConfigUnwritable, XrayRefused, XrayUnavailable
from vpnkeys.domain.plan import Plan
from vpnkeys.xray.node import LocalNode


@pytest.mark.parametrize(("removal", "raised"), [(XrayUnavailable, XrayUnavailable), (XrayRefused, ConfigUnwritable)])
def test_a_removal_that_times_out_is_not_hidden(removal: type[Exception], raised: type[Exception]) -> None:
    """config.json does not take a new inbound, and Xray hangs when it is to be removed again: it may still be there."""
    file, control = Mock(), Mock()
    file.put.side_effect = ConfigUnwritable("the disk is full")
    control.remove.side_effect = removal("Xray")
    node = LocalNode(file, control, Mock(), Mock(), Path("api.sock"), Mock(), Mock(), Mock())
    inbound = inbound_of(10001)
    with pytest.raises(raised):
        node.apply(Plan(file=(inbound,), add=(inbound,)))
    control.remove.assert_called_once_with(inbound.tag)
    node._writer.shutdown()
