"""A .tflite file run once in a process of its own: LiteRT ends its process on some damaged files.

The child reads the file from stdin, so that what was tried is what runs.
"""

from __future__ import annotations

import sys

from edgeailite.runtime.failures import reason_of
from edgeailite.runtime.trial import BYTES, FULL, READY, STACK, is_memory, limit_memory, run_apart

KERNELS = {"xnnpack": "BUILTIN", "reference": "BUILTIN_REF"}
"""Which kernels compute -> LiteRT's name for where it looks for operators."""


def try_tflite(data: bytes, *, name: str, kernels: str, threads: int = 1) -> None:
    """Load and run a file once in a child. Raises DataError with `name` where that fails, or takes too much."""
    memory = BYTES + 4 * len(data) + STACK * threads
    run_apart(__name__, [str(memory), str(threads), KERNELS[kernels]], memory=memory, name=name, given=data)


def main(words: list[str]) -> int:
    """Run in the child process: limit memory, load and run the file; prints READY, or the reason of the failure."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    memory, threads, resolver = int(words[0]), int(words[1]), OpResolverType[words[2]]
    data = sys.stdin.buffer.read()
    limit_memory(memory)
    done = "LiteRT cannot load it"
    try:
        model = Interpreter(model_content=data, experimental_op_resolver_type=resolver, num_threads=threads)
        done = "LiteRT cannot run it"
        model.allocate_tensors()
        model.invoke()
    except MemoryError:
        print(FULL)
        return 1
    except Exception as error:  # noqa: BLE001 - LiteRT raises ValueError and RuntimeError, and says no more
        reason = reason_of(error)
        print(FULL if is_memory(reason) else f"{done} ({reason})")
        return 1
    print(READY)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
