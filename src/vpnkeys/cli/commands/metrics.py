"""`vpnkeys metrics`: what Prometheus is told."""

import math

from vpnkeys.cli.output.plain import plain_lines
from vpnkeys.cli.remote import Session, asks_server
from vpnkeys.client import UnexpectedAnswer


@asks_server
def metrics(session: Session) -> None:
    """The metrics of this moment, in Prometheus' text format, or as a list of name, labels and value."""
    text = session.server.metrics()
    if not session.as_json:
        print(plain_lines(text), end="")
        return
    # Takes long to import, and nobody else here needs it.
    from prometheus_client.parser import text_string_to_metric_families  # noqa: PLC0415

    try:
        samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    except ValueError as error:
        detail = "The server's answer is not in Prometheus' text format."
        raise UnexpectedAnswer(None, "unexpected_answer", detail) from error
    session.tell([{"name": one.name, "labels": one.labels, "value": _number(one.value)} for one in samples])


def _number(value: float) -> float | str:
    """JSON has neither infinity nor NaN."""
    return value if math.isfinite(value) else str(value)
