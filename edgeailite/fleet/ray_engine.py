"""Ray Data as the engine: it spreads rows over actors, starts killed ones again and holds back what is too fast."""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from edgeailite.config.checks import Engine
from edgeailite.errors import DataError, EdgeailiteError, UsageError, first_line
from edgeailite.fleet.stores import INSTALL, pyarrow
from edgeailite.fleet.units import chunks

Batch = dict[str, NDArray[Any]]
OWN = "local"  # the address by which ray starts a cluster
AHEAD = 4  # chunks per worker that are under way


@dataclass(frozen=True)
class Workers:
    """How many actors a job has, and what each may use.

    `address` is that of a cluster, "auto" for the one that runs here; None takes that of RAY_ADDRESS, or starts one
    here for the job. `concurrency` is the number of actors, None as many as there are CPUs for; `cpus` those of each.
    """

    address: str | None = None
    concurrency: int | None = None
    cpus: float = 1.0


def workers_of(options: Engine) -> Workers:
    """Return the workers that a verb's options ask for."""
    return Workers(options.address, options.concurrency, options.actor_cpus)


def start(workers: Workers) -> Any:
    """Connect to the cluster, or start one here; return the module `ray`. Raises UsageError, DataError."""
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise UsageError(f"ray is not installed ({error}); {INSTALL}", code="not-installed") from None
    if not ray.is_initialized():
        address = workers.address or os.environ.get("RAY_ADDRESS") or OWN  # without one, ray joins what it finds here
        more: dict[str, Any] = {"include_dashboard": False} if address == OWN else {}
        try:
            ray.init(address, log_to_driver=False, logging_level=logging.ERROR, **more)
        except Exception as error:  # noqa: BLE001 - ray raises Exception itself where its processes do not start in time
            problem = f"ray did not start ({first_line(error)[:200]})"
            if address == OWN:
                raise DataError(problem, fix="try again, or give the address of a cluster", code="offline") from None
            fix = "start one with ray, or name another"
            raise UsageError(problem, about="address", value=address, fix=fix, code="offline") from None
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.actor_task_retry_on_errors = False  # an error of ours is one of the network: the job ends
    context.actor_init_retry_on_errors = False
    context.max_errored_blocks = 0
    return ray


def run(
    actor: type[Any],
    argument: Any,
    rows: Iterable[Mapping[str, Any]],
    *,
    workers: Workers,
    batch: int,
) -> Iterator[Batch]:
    """Yield what actors make of rows, in any order: `actor(argument)(columns)` yields columns.

    Rows are handed out `batch` at a time. An actor or a node that is lost is replaced, and its rows are done again,
    as often as it takes, which is what Ray Data does unasked.
    Raises the EdgeailiteError that an actor raised, DataError for what Ray itself reports.
    """
    ray = start(workers)
    tables = list(_tables(rows, batch))
    if not tables:
        return
    size = workers.concurrency or min(_room(ray, workers), len(tables))
    try:
        made = ray.data.from_blocks(tables).map_batches(  # from_arrow starts a task for each table, to count its rows
            actor,
            fn_constructor_args=(argument,),
            batch_size=batch,
            batch_format="numpy",
            compute=ray.data.ActorPoolStrategy(size=size),
            num_cpus=workers.cpus,
        )
        del tables  # they are in the object store now
        yield from made.iter_batches(batch_size=None, batch_format="numpy")
    except ray.exceptions.RayError as error:
        raise _ours(error) from None


def _room(ray: Any, workers: Workers) -> int:
    """Return how many workers there are CPUs for, at least one."""
    return max(1, int(ray.cluster_resources().get("CPU", 1) / workers.cpus))


def _tables(rows: Iterable[Mapping[str, Any]], size: int) -> Iterator[Any]:
    """Yield Arrow tables of so many rows: a block for each call of an actor."""
    lib = pyarrow("lib")
    for part in chunks(rows, size):
        yield lib.Table.from_pylist([dict(row) for row in part])


def _ours(error: BaseException) -> EdgeailiteError:
    """Return the error of ours that an actor raised; else one with what Ray says."""
    seen: list[BaseException] = []
    waiting: list[BaseException | None] = [error]
    while waiting:
        one = waiting.pop()
        if one is None or one in seen:
            continue
        if isinstance(one, EdgeailiteError):
            return one
        seen.append(one)
        waiting += [one.__cause__, one.__context__, getattr(one, "cause", None)]
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return DataError(f"ray: {lines[-1][:300] if lines else type(error).__name__}", code="lost-process")


def in_order(function: Callable[..., Any], chunks: Iterable[Any], shared: Any, *, workers: Workers) -> Iterator[Any]:
    """Yield `function(chunk, *shared)` of each chunk, in order, computed by tasks; a lost task is done again.

    A few chunks per worker are under way at a time. Raises as `run` does.
    """
    ray = start(workers)
    task = ray.remote(num_cpus=workers.cpus, max_retries=-1)(function)
    size = workers.concurrency or _room(ray, workers)
    arguments = [ray.put(value) for value in shared]
    waiting: deque[Any] = deque()
    try:
        for chunk in chunks:
            waiting.append(task.remote(chunk, *arguments))
            if len(waiting) >= AHEAD * size:
                yield ray.get(waiting.popleft())
        while waiting:
            yield ray.get(waiting.popleft())
    except ray.exceptions.RayError as error:
        raise _ours(error) from None
