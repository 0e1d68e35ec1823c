"""The tables of docs/published_commands.md: `python tools/published_commands.py` prints them."""

from __future__ import annotations

from collections.abc import Mapping

from edgeailite.compat import ade20k, pixel2pixel
from edgeailite.compat.flags import Flag, shown


def tables() -> dict[str, str]:
    """Return the tables of the page by name."""
    return {
        "what the pixel2pixel scripts start from": _recipes(),
        "their flags": _table(pixel2pixel.FLAGS),
        "what the ADE20K scripts start from": _forms(),
        "keys of the YAML files": _table(ade20k.KEYS),
        "flags that are no key": _table(ade20k.OTHER),
        "flags that are a key": _same(),
    }


def meaning(name: str, flag: Flag) -> str:
    """Describe in a table's row what this package does with a flag."""
    why = getattr(flag.rule, "why", "")
    text = flag.note or flag.about
    if not flag.to:
        return flag.note or (f"other values are refused: {why}" if why else "other values are refused")
    if flag.to == ade20k.JOINT:
        return text or "read with other settings"
    option = "the same" if flag.to in (name, "several") else f"`--{flag.to}`"
    return f"{option}; {text}" if text else option


def _table(flags: Mapping[str, Flag]) -> str:
    rows = [
        f"| `{shown(name)}` | {flag.takes.replace('|', ' or ')} | {meaning(name, flag)} |"
        for name, flag in flags.items()
    ]
    return "\n".join(["| flag | values | here |", "|---|---|---|", *rows]) + "\n"


def _recipes() -> str:
    common = set.intersection(*(set(script.recipe.items()) for script in pixel2pixel.SCRIPTS.values()))
    rows = ["| script | options |", "|---|---|", f"| all | {_flags(dict(sorted(common)))} |"]
    for name, script in pixel2pixel.SCRIPTS.items():
        own = {option: value for option, value in script.recipe.items() if (option, value) not in common}
        rows.append(f"| `{name}.py` | {_flags(own)} |")
    return "\n".join(rows) + "\n"


def _forms() -> str:
    rows = ["| year | settings | options |", "|---|---|---|"]
    for year, form in ade20k.FORMS.items():
        settings = ", ".join(f"`{key}` {value}" for key, value in form.settings.items())
        rows.append(f"| {year} | {settings} | {_flags(form.options)} |")
    return "\n".join(rows) + "\n"


def _flags(options: Mapping[str, str]) -> str:
    return " ".join(f"`--{name} {value}`" for name, value in options.items())


def _same() -> str:
    return ", ".join(f"`--{name}` (`{key}`)" for name, key in ade20k.OLDER.items()) + "\n"


if __name__ == "__main__":
    print("\n".join(tables().values()), end="")
