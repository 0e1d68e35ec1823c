"""Fuzz everything that a stranger may hand us: files of all kinds, words of the command line, HTTP requests.

    python tools/fuzz.py                        2,600 cases with seed 1, a table, exit code 1 if any failed
    python tools/fuzz.py --groups onnx yaml     groups whose names begin so
    python tools/fuzz.py --only yaml-device-0007 --keep      one case again, its folder stays

A case ends well with a documented exit code, exactly one line of error if the code says so, no traceback, nothing else
on stderr but notes, within 20 seconds of computing (60 of waiting) and 2.5 GB, with nothing written outside its own
folder. The same seed gives the same cases, and a case is the same alone as among others.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


def arguments(words: Sequence[str] | None) -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=1, help="another seed gives other cases (default 1)")
    parser.add_argument("--cases", type=int, default=2600, help="about so many cases (default 2600)")
    parser.add_argument("--groups", nargs="*", default=[], metavar="NAME", help="begins of the names of groups")
    parser.add_argument("--only", nargs="*", default=[], metavar="CASE", help="names of cases, as the table gives them")
    parser.add_argument("--keep", action="store_true", help="leave the folders of all cases, and say where they are")
    parser.add_argument("--quick", action="store_true", help="only groups whose seeds are made in a few seconds")
    parser.add_argument("--limit", type=float, default=20.0, help="seconds that a case may compute (default 20)")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)), help="cases at one time")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write how every case ended to this file")
    return parser.parse_args(words)


def main(words: Sequence[str] | None = None) -> int:
    """Play the cases and print the table; 1 if any failed."""
    options = arguments(words)
    os.environ.update(ONE_THREAD)
    sys.path.insert(0, str(ROOT))
    from tests.fuzz.groups import GROUPS
    from tests.fuzz.runner import Planned, Runner, import_everything, plan
    from tests.fuzz.seeds import QUICK

    wanted = tuple(options.groups) or ("",)
    groups = [group for name, group in GROUPS.items() if name.startswith(wanted)]
    if options.quick:
        groups = [group for group in groups if set(group.needs) <= {*QUICK, "server"}]
    cases = plan(groups, options.cases)
    if options.only:
        named = [name.rpartition("-") for name in options.only]
        cases = [Planned(GROUPS[group], f"{group}-{number}", int(number)) for group, _, number in named]
    if not cases:
        print(f"no group begins with {' or '.join(wanted)}; there are {', '.join(GROUPS)}", file=sys.stderr)
        return 2
    import_everything(heavy=not options.quick)
    root = Path(tempfile.mkdtemp(prefix="edgeailite-fuzz-"))
    try:
        runner = Runner(root, seed=options.seed, limit=options.limit, jobs=options.jobs, keep=options.keep)
        return run(runner, cases, options.json)
    finally:
        if options.keep:
            print(f"kept: {root}", file=sys.stderr)
        else:
            shutil.rmtree(root, ignore_errors=True)


def run(runner, cases, file: Path | None) -> int:  # noqa: ANN001 - imported where the environment is set
    """All cases, the real server beside those that need it."""
    from tests.fuzz.case import Fault
    from tests.fuzz.runner import Result, describe
    from tests.fuzz.server import running

    began = time.monotonic()
    needs = {name for case in cases for name in case.group.needs}
    runner.make_seeds([name for name in needs if name != "server"])
    results: list[Result] = []
    fault = None
    try:
        with running(runner.seeds) if "server" in needs else contextlib.nullcontext():
            for result in runner.play(cases):
                results.append(result)
                if result.failures:
                    print(describe(result), file=sys.stderr, flush=True)
    except Fault as error:
        fault = f"{error.kind}: {error.detail}"
        print(fault, file=sys.stderr)
    show(results, time.monotonic() - began)
    if file is not None:
        file.write_text(json.dumps([record(result) for result in results], indent=1))
    return 1 if fault or any(result.failures for result in results) else 0


def show(results, seconds: float) -> None:  # noqa: ANN001
    """A table by group, then the kinds of failures by place, each with an example."""
    print(f"{'group':<20} {'cases':>6} {'good':>6}  failures")
    for name in sorted({result.group for result in results}):
        ours = [result for result in results if result.group == name]
        kinds = Counter(result.failures[0].kind for result in ours if result.failures)
        words = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())
        print(f"{name:<20} {len(ours):>6} {sum(not result.failures for result in ours):>6}  {words}")
    good = sum(not result.failures for result in results)
    largest, longest = max(result.ended.memory for result in results), max(result.ended.seconds for result in results)
    most = f"{seconds:.0f} s; most: {largest / 1e9:.2f} GB, {longest:.1f} s a case"
    print(f"{'all':<20} {len(results):>6} {good:>6}  {most}")
    failed = [result for result in reversed(results) if result.failures]
    examples = {(one.failures[0].kind, one.failures[0].detail[:110]): one.ended.name for one in failed}
    places = Counter((one.failures[0].kind, one.failures[0].detail[:110]) for one in failed)
    for place, count in places.most_common(400):
        print(f"{count:>5} {place[0]}: {place[1]!r:.130} (such as {examples[place]})")


def record(result) -> dict[str, object]:  # noqa: ANN001
    """A case for machines."""
    ended = result.ended
    return {
        "name": ended.name,
        "about": ended.about,
        "argv": list(ended.argv),
        "code": ended.code,
        "seconds": round(ended.seconds, 1),
        "megabytes": ended.memory // 10**6,
        "failures": [[failure.kind, failure.detail] for failure in result.failures],
        "stderr": ended.err[-3000:].encode(errors="backslashreplace").decode(),
    }


if __name__ == "__main__":
    sys.exit(main())
