"""A server whose model needs neither torch nor onnxruntime: `-m tests.serve.light SECONDS FAILING DRAIN_TIMEOUT`."""

from __future__ import annotations

import sys
import time

import numpy as np

from edgeailite.__main__ import reporting
from edgeailite.errors import DataError
from edgeailite.serve.admission import Gate
from edgeailite.serve.app import Service
from edgeailite.serve.served_model import Image, ServedModel
from edgeailite.serve.server import listen, serve


def log(line: str) -> None:
    """A line on stderr."""
    print(line, file=sys.stderr, flush=True)


def main(seconds: float, failing: bool, drain_timeout: float) -> int:
    """Serve until a signal."""

    def labels(image: Image) -> Image:
        time.sleep(seconds)
        return np.zeros(image.shape[:2], np.uint8)

    def load() -> dict[str, ServedModel]:
        if failing:
            raise DataError("gone.onnx: no such file")
        return {"zeros": ServedModel("zeros", (("all", (1, 2, 3)),), labels, {})}

    service = Service(("zeros",), Gate(2, queue=4, patience=10), max_body=1_000_000, max_pixels=1_000_000)
    server = listen(service, host="127.0.0.1", port=0, client_timeout=5)
    log(f"listening on http://127.0.0.1:{server.effective_port}")
    return serve(server, load, drain_timeout=drain_timeout, on_ready=lambda: None, on_stopped=log)


if __name__ == "__main__":
    sys.exit(reporting(lambda: main(float(sys.argv[1]), sys.argv[2] == "1", float(sys.argv[3]))))
