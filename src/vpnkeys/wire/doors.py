"""Doors: inbounds of another panel that stay, so that the old links of imported keys go on."""

from typing import Annotated

from pydantic import Field

from vpnkeys.wire.base import Answer, OneOf


class Door(Answer):
    """A door. Its key pair is not shown."""

    tag: Annotated[str, Field(examples=["vpnkeys-door-inbound-443"])]
    port: Annotated[int, Field(examples=[443])]
    keys: Annotated[int, Field(description="keys whose old links work now", examples=[120])]
    imported_keys: Annotated[int, Field(description="keys that came with it", examples=[130])]
    state: Annotated[
        str,
        OneOf("open", "taken", "closed", "target_down", "closing"),
        Field(
            description="`taken`: another program has its port; `closed`: it is left out, and `problem` says why; "
            "`target_down`: its REALITY target does not answer; `closing`: closed, and Xray has to confirm it yet"
        ),
    ]
    problem: Annotated[
        str, Field(description="why old links do not work; empty when they do", examples=["Xray refuses it"])
    ] = ""
    server_names: list[str]


class DoorClosed(Answer):
    """A door that is no more."""

    message: str
