"""Counters and times in the text format of Prometheus (exposition format 0.0.4); a table of families, no library."""

from __future__ import annotations

import os
import threading
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from edgeailite.untrusted import printable

TEXT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)  # seconds

COUNTERS: dict[str, tuple[str, tuple[str, ...]]] = {
    "edgeailite_requests_total": ("Answers by route and status.", ("route", "status")),
    "edgeailite_predictions_total": ("Pictures labelled.", ("model", "output")),
    "edgeailite_problems_total": ("Answers that were not what was asked for, by code.", ("error",)),
    "edgeailite_connections_closed_total": ("Connections that the service gave up.", ("reason",)),
}
STAGES = ("queue", "decode", "network", "encode")
HISTOGRAM = ("edgeailite_stage_seconds", "Seconds that a picture spent in each stage.")

Labels = tuple[str, ...]


class Metrics:
    """Counts from any thread; `text` gives all of it. Labels must come from fixed sets, never from a client."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[tuple[str, Labels], int] = defaultdict(int)
        self._buckets = {stage: [0] * (len(BUCKETS) + 1) for stage in STAGES}
        self._seconds = dict.fromkeys(STAGES, 0.0)

    def count(self, family: str, *labels: str) -> None:
        """Count one more, with values in the order of the family's label names."""
        with self._lock:
            self._counts[family, labels] += 1

    def total(self, family: str) -> int:
        """Return the count of a family over all labels."""
        with self._lock:
            return sum(count for (name, _), count in self._counts.items() if name == family)

    def observe(self, stages: Mapping[str, float]) -> None:
        """Add the seconds of each stage of one picture."""
        with self._lock:
            for stage, seconds in stages.items():
                self._buckets[stage][bisect_left(BUCKETS, seconds)] += 1
                self._seconds[stage] += seconds

    def text(self, gauges: Mapping[str, tuple[str, float]], info: Sequence[Mapping[str, str]]) -> str:
        """Return all metrics as text; `gauges` are name -> (help, value now), `info` labels of the served models."""
        with self._lock:
            return "\n".join([*self._families(), *_gauges(gauges), *_info(info)]) + "\n"

    def _families(self) -> Iterator[str]:
        for family, (help_text, names) in COUNTERS.items():
            yield from _head(family, help_text, "counter")
            for (name, labels), value in sorted(self._counts.items()):
                if name == family:
                    yield f"{family}{_labels(dict(zip(names, labels, strict=True)))} {value}"
        name, help_text = HISTOGRAM
        yield from _head(name, help_text, "histogram")
        for stage, counts in self._buckets.items():
            for edge, upto in zip((*BUCKETS, "+Inf"), _running(counts), strict=True):
                yield f"{name}_bucket{_labels({'stage': stage, 'le': str(edge)})} {upto}"
            yield f"{name}_sum{_labels({'stage': stage})} {self._seconds[stage]:.9g}"
            yield f"{name}_count{_labels({'stage': stage})} {sum(counts)}"


def resident_bytes() -> float:
    """Return the memory of this process that is in RAM; 0 if the system does not say."""
    try:
        return float(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError, AttributeError):
        return 0.0


def _gauges(gauges: Mapping[str, tuple[str, float]]) -> Iterator[str]:
    for name, (help_text, value) in gauges.items():
        yield from _head(name, help_text, "gauge")
        yield f"{name} {value:.15g}"


def _info(models: Sequence[Mapping[str, str]]) -> Iterator[str]:
    yield from _head("edgeailite_model_info", "The models served; always 1.", "gauge")
    for labels in models:
        yield f"edgeailite_model_info{_labels(labels)} 1"


def _head(name: str, help_text: str, kind: str) -> Iterator[str]:
    yield f"# HELP {name} {help_text}"
    yield f"# TYPE {name} {kind}"


def _labels(labels: Mapping[str, str]) -> str:
    return "{" + ",".join(f'{key}="{_escaped(value)}"' for key, value in labels.items()) + "}"


def _escaped(value: str) -> str:
    return printable(value).replace("\\", r"\\").replace('"', r"\"")


def _running(counts: Sequence[int]) -> Iterator[int]:
    total = 0
    for count in counts:
        total += count
        yield total
