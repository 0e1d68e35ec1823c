"""States of a service: starting (models load), ready, draining (what came before is finished), or failed."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping

from edgeailite.serve.errors import Problem
from edgeailite.serve.served_model import ServedModel

STARTING, READY, DRAINING = "starting", "ready", "draining"


class Lifecycle:
    """Read by every request; written by the thread that loads models and by the signal to stop."""

    def __init__(self) -> None:
        self.failure: BaseException | None = None
        self._models: Mapping[str, ServedModel] | None = None
        self._drain_began = math.inf

    @property
    def state(self) -> str:
        """Return starting, ready or draining."""
        if self._drain_began < math.inf:
            return DRAINING
        return STARTING if self._models is None else READY

    def loaded(self, models: Mapping[str, ServedModel]) -> None:
        """Answer requests from now on."""
        self._models = models

    def drain(self) -> None:
        """Answer only requests that have arrived before, from now on."""
        self._drain_began = min(self._drain_began, time.monotonic())

    def models(self) -> Mapping[str, ServedModel]:
        """Return the models by name. Raises Problem `starting`."""
        if self._models is None:
            raise Problem("starting", "models are being loaded; try again", retry_after=2)
        return self._models

    def admit(self, arrived: float) -> None:
        """Let a request that began to arrive at this time (monotonic) in. Raises Problem `starting` or `draining`."""
        self.models()
        if arrived > self._drain_began:
            raise Problem("draining", "the service is stopping; ask another one", retry_after=5)
