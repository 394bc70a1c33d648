"""`vpnkeys completion`: what lets a shell complete our commands."""

from enum import StrEnum
from typing import Annotated

import typer
from typer.completion import get_completion_script  # type: ignore[attr-defined]  # not in Typer's own list, but there


class Shell(StrEnum):
    """The shells that are known."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


def completion(shell: Annotated[Shell, typer.Argument(help="For which shell.")]) -> None:
    """Print the script that completes our commands: in bash, `eval "$(vpnkeys completion bash)"`.

    `vpnkeys --install-completion` writes it where the shell of this terminal finds it. Exit codes: 0 done; 2 wrong
    command line.
    """
    print(get_completion_script(prog_name="vpnkeys", complete_var="_VPNKEYS_COMPLETE", shell=shell.value))
