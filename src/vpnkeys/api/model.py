"""What all bodies of requests and answers are made of."""

from pydantic import BaseModel, ConfigDict


class Model(BaseModel):
    """A body. What checks and renders it is built when it is first needed.

    Most of a start, and a tenth of the memory, would go into bodies that this server may never see (measured).
    """

    model_config = ConfigDict(defer_build=True)
