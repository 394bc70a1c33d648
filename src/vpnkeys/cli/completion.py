"""`vpnkeys completion`: the script with which a shell completes our commands."""

from enum import StrEnum
from typing import Annotated

import typer
from typer.completion import get_completion_script  # type: ignore[attr-defined]  # not in Typer's own list, but there


class Shell(StrEnum):
    """The shells with completion."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


def completion(shell: Annotated[Shell, typer.Argument(help="The shell.")]) -> None:
    """Print a shell's completion script; in bash, `eval "$(vpnkeys completion bash)"` uses it.

    `vpnkeys --install-completion` installs it for the shell of this terminal. Exit codes: 0 done; 2 wrong command
    line.
    """
    print(get_completion_script(prog_name="vpnkeys", complete_var="_VPNKEYS_COMPLETE", shell=shell.value))
