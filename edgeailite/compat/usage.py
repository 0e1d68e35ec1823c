"""`--help` of the published scripts."""

from __future__ import annotations

import re
from collections.abc import Mapping

from edgeailite.compat.flags import Flag, shown
from edgeailite.config import QuantizeConfig, TrainConfig
from edgeailite.usage import options_of

OURS = options_of(QuantizeConfig) | options_of(TrainConfig)


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
    """Say what a flag does: our option, its own remark, else what our option's help says, or why no value is taken."""
    other = f"--{flag.to}" if flag.to.isidentifier() and flag.to != name else ""
    text = flag.note or flag.about
    if not text and flag.to in OURS:
        text = re.split(r"(?<=\.) |: auto|; auto", OURS[flag.to].text)[0].removesuffix(".")
    elif not text and flag.to:
        text = "read with other settings"
    why = getattr(flag.rule, "why", "")
    if not text and not flag.to:
        text = f"other values are refused: {why}" if why else "other values are refused"
    return "; ".join(part for part in (other, text) if part)
