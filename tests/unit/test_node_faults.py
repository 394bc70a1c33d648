"""Faults of a node that come together: config.json cannot be written, and Xray does not follow."""

import threading
from pathlib import Path
from unittest.mock import Mock

import pytest
from tests.support.memory import SITE
from tests.unit.test_config import inbound_of
from tests.unit.test_link import KEY

from vpnkeys.domain.errors import ConfigUnwritable, XrayRefused, XrayUnavailable
from vpnkeys.domain.key import Keys
from vpnkeys.domain.plan import Plan, transition
from vpnkeys.xray.node import LocalNode

STOP = transition(Keys([KEY]), Keys(), [KEY.id], SITE)


def node_of(file: Mock, control: Mock, cut: Mock) -> LocalNode:
    """A node of which nothing else is asked."""
    return LocalNode(file, control, Mock(), Mock(), Path("api.sock"), Mock(), Mock(), Mock(), cut)


@pytest.mark.parametrize(("removal", "raised"), [(XrayUnavailable, XrayUnavailable), (XrayRefused, ConfigUnwritable)])
def test_a_removal_that_times_out_is_not_hidden(removal: type[Exception], raised: type[Exception]) -> None:
    """config.json does not take a new inbound, and Xray hangs when it is to be removed again: it may still be there."""
    file, control = Mock(), Mock()
    file.put.side_effect = ConfigUnwritable("the disk is full")
    control.remove.side_effect = removal("Xray")
    node = node_of(file, control, Mock())
    inbound = inbound_of(10001)
    with pytest.raises(raised):
        node.apply(Plan(file=(inbound,), add=(inbound,)))
    control.remove.assert_called_once_with(inbound.tag)
    node._writer.shutdown()


def test_a_stop_goes_on_while_the_file_is_written() -> None:
    """Neither waits for the other."""
    file, control, removed, waited = Mock(), Mock(), threading.Event(), []
    file.put.side_effect = lambda _draft: waited.append(removed.wait(60))
    control.remove.side_effect = lambda _tag: removed.set()
    node = node_of(file, control, Mock())
    node.apply(STOP)
    assert waited == [True]
    node._writer.shutdown()


def test_a_stop_goes_on_without_the_file() -> None:
    """It is told all the same that the file could not be written."""
    file, control, cut = Mock(), Mock(), Mock()
    file.put.side_effect = ConfigUnwritable("the disk is full")
    node = node_of(file, control, cut)
    with pytest.raises(ConfigUnwritable):
        node.apply(STOP)
    control.remove.assert_called_once_with(KEY.tag)
    cut.assert_called_once_with((KEY.port,), None)
    node._writer.shutdown()
