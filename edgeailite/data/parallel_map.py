"""A function over a stream, by a few threads, in order and with few items under way: how pictures are read and written.

Decoders and encoders of OpenCV release Python's lock, so that they work beside the network. However long the stream,
`threads` and `ahead` bound what is in memory.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Given = TypeVar("Given")
Made = TypeVar("Made")
THREADS, AHEAD = 2, 4


def parallel_map(
    function: Callable[[Given], Made], items: Iterable[Given], *, threads: int = THREADS, ahead: int = AHEAD
) -> Iterator[Made]:
    """Yield `map(function, items)`, computed up to `ahead` items early; raises what the function raises, in turn."""
    waiting: deque[Future[Made]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) > ahead:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
