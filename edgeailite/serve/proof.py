"""What is proven of a served file: its contract is checked again when the service starts, on the machine it runs on."""

from __future__ import annotations

from pathlib import Path

from edgeailite.console import log
from edgeailite.errors import EdgeailiteError, counted
from edgeailite.runtime import load_contract, recheck, recheck_tflite
from edgeailite.runtime.beside import contract_beside
from edgeailite.runtime.contract_file import but_for

PROVEN, PARTLY, DEPARTS, UNPROVEN = "proven", "partly", "departs", "unproven"
STATES = (PROVEN, PARTLY, DEPARTS, UNPROVEN)
TFLITE = ".tflite"


def proof(file: Path, *, threads: int | None = None) -> dict[str, str]:
    """Check a file against the contract beside it; return `state` and `text`, a sentence for people without any path.

    `proven`: the golden pictures get the answers of the contract on this machine. `partly`: they do, but the contract
    promises less than every bit. `departs`: they do not, and the service's log names the first layer. `unproven`: there
    is no contract of this file beside it.
    """
    path = contract_beside(file)
    if path is None:
        return {"state": UNPROVEN, "text": "no contract of this file lies beside it; `edgeailite verify` writes one"}
    check = recheck_tflite if file.suffix == TFLITE else recheck
    try:
        found = check(file, load_contract(path), threads=threads, name=str(path))
    except EdgeailiteError as error:
        log(f"warning: {file} does not keep its contract {path.name} here: {error}")
        return {"state": DEPARTS, "text": f"departs from {path.name} on this machine; the service's log says where"}
    count = found["pictures"]
    pictures = f"{counted(count, 'picture')} of {path.name}"
    if "promise" in found:
        promise = but_for(found["float_parts"]) if "float_parts" in found else found["promise"]
        return {"state": PARTLY, "text": f"{promise}; checked here on {pictures}"}
    exact = file.suffix == TFLITE or "arithmetic" in found
    same = "in every bit" if exact else "with the same labels, scores within the contract's tolerance"
    return {"state": PROVEN, "text": f"this machine gives the proven answers to {pictures}, {same}"}
