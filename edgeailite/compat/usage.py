"""`--help` of the published scripts."""

from __future__ import annotations

from collections.abc import Mapping

from edgeailite.compat.flags import Flag, shown


def usage(script: str, flags: Mapping[str, Flag]) -> str:
    """Return the usage text of a script: its flags, their values and our options."""
    rows = "\n".join(
        f"  {shown(name) + ' ' + flag.takes:<46} {meaning(name, flag)}".rstrip() for name, flag in flags.items()
    )
    return (
        f"usage: python {script}.py [--flags]\n\nflags as published; beside them every option of `edgeailite train` "
        f"(edgeailite train --help)\n\n{rows}\n\ndocs/published_commands.md says more"
    )


def meaning(name: str, flag: Flag) -> str:
    """Describe our form of a flag in a few words."""
    other = f"--{flag.to}" if flag.to.isidentifier() and flag.to != name else ""
    return "; ".join(part for part in (other, flag.note or flag.about) if part)
