"""`vpnkeys metrics`: the server's metrics, as Prometheus reads them."""

import math

from vpnkeys.cli.output.plain import plain_lines
from vpnkeys.cli.remote import Remote, asks_server
from vpnkeys.client import UnexpectedAnswer


@asks_server
def metrics(remote: Remote) -> None:
    """Print the current metrics in Prometheus' text format, or with --json as a list of name, labels and value."""
    text = remote.server.metrics()
    if not remote.as_json:
        print(plain_lines(text), end="")
        return
    # Imported here because it takes long, and only --json needs it.
    from prometheus_client.parser import text_string_to_metric_families  # noqa: PLC0415

    try:
        samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    except ValueError as error:
        detail = "The server's answer is not in Prometheus' text format."
        raise UnexpectedAnswer(None, "unexpected_answer", detail) from error
    remote.show([{"name": one.name, "labels": one.labels, "value": _number(one.value)} for one in samples])


def _number(value: float) -> float | str:
    """Return the value, as text when JSON has no number for it: infinity and NaN."""
    return value if math.isfinite(value) else str(value)
