"""Run a verb of the command line, and turn its errors into one line and an exit code.

Modules are imported when their verb runs.
"""

from __future__ import annotations

import importlib
import io
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

from edgeailite import __version__
from edgeailite.verbs import VERBS, verbs_of

OUT_OF_MEMORY = ("can't allocate memory", "not enough memory", "CUDA out of memory")  # in torch's RuntimeErrors
BASE = {"cv2": "opencv-python-headless", "yaml": "PyYAML", "onnx": "onnx", "onnxruntime": "onnxruntime", "rich": "rich"}
TRAINING = ("torch", "torchvision", "onnxscript", "onnxsim", "safetensors", "matplotlib")  # packages of extra `train`
LONG = ("train", "quantize")  # verbs that schedulers stop
LONGEST_ERROR = 1900  # characters of an error; the middle of a longer one is left out


def main(arguments: list[str] | None = None) -> int:
    """Run one verb; returns its exit code."""
    args = sys.argv[1:] if arguments is None else list(arguments)
    if args and args[0] not in ("-h", "--help", "help", "--version"):
        return reporting(lambda: _run(args[0], args[1:]))
    try:
        return _about(args)
    except BrokenPipeError:
        return 0
    finally:
        _flush()


def _about(args: list[str]) -> int:
    """Print the version, or the list of verbs; 2 where no verb was given."""
    if args[:1] == ["--version"]:
        print(__version__)
        return 0
    from edgeailite.usage import usage

    print(usage())
    return 0 if args else 2


def reporting(action: Callable[[], int]) -> int:
    """Run an action and return its exit code; print an error that a user can act on as one line and return its code.

    Names and values of strangers stand in these lines: they are printed without control characters.
    """
    from edgeailite.console import show_notes
    from edgeailite.errors import EdgeailiteError, Interrupted, spell_options_as_flags
    from edgeailite.untrusted import printable

    _print_anything()
    spell_options_as_flags()
    show_notes()
    try:
        return action()
    except Interrupted as error:
        code = _ended(f"{error.problem}; go on with:" if error.fix else error.problem, error.exit_code)
        if error.fix:
            print(printable(error.fix), file=sys.stderr)  # a line of its own, to be typed as it is
        return code
    except EdgeailiteError as error:
        return _ended(str(error), error.exit_code)
    except KeyboardInterrupt:
        return _ended("", 130)
    except BrokenPipeError:
        return 0
    except MemoryError:
        return _ended("not enough memory for this input; give a smaller one, or more memory", 1)
    except RecursionError:
        return _ended("values of a file are nested too deeply; take another file", 3)
    except OSError as error:  # of a file that went away, or a disk that is full, where no better message was known
        if error.filename is None:
            raise
        return _ended(f"{os.fsdecode(error.filename)}: {error.strerror}; check the path, its rights and the disk", 3)
    except RuntimeError as error:
        if not any(text in str(error) for text in OUT_OF_MEMORY):
            raise
        return _ended("not enough memory for this input; give a smaller one, or more memory", 1)
    finally:
        _flush()


def _flush() -> None:
    """Write out what was printed. If nobody reads any more, as after `| head`, the rest goes nowhere, and quietly."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _ended(message: str, code: int) -> int:
    from edgeailite.untrusted import printable

    text = printable(message)
    if len(text) > LONGEST_ERROR:  # names of files and of what they hold can be as long as somebody likes
        text = f"{text[: LONGEST_ERROR // 2]} … {text[-LONGEST_ERROR // 2 :]}"
    print(f"error: {text}" if text else "interrupted", file=sys.stderr)
    return code


def _print_anything() -> None:
    """Characters that a terminal's encoding lacks, and undecodable ones of file names, are printed as escapes."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="backslashreplace")


def _run(verb: str, args: list[str]) -> int:
    from edgeailite.errors import UsageError, did_you_mean

    if verb == "preset":
        from edgeailite.presets import expand

        verb, args = expand(args)
    if verb == "quantize":
        verb, args = _analysis(args)
    if verbs_of(verb):
        if not args or args[0] in ("-h", "--help", "help"):
            from edgeailite.usage import family_usage

            print(family_usage(verb))
            return 0 if args else 2
        verb, args = f"{verb} {args[0]}", args[1:]
    if verb not in VERBS:
        problem = f"unknown verb {verb!r}{did_you_mean(verb, VERBS)} (edgeailite --help lists them)"
        raise UsageError(problem, value=verb, known=tuple(VERBS), code="unknown-name")
    from edgeailite.cli import parse

    config: Any = parse(verb, args)
    try:
        with _ended_by_sigterm() if verb in LONG else nullcontext():
            command = importlib.import_module(f"edgeailite.commands.{VERBS[verb].module}")
            return int(command.run(config))
    except ModuleNotFoundError as error:
        name = (error.name or "").partition(".")[0]
        if name not in TRAINING and name not in BASE:
            raise
        package = '"edgeailite[train]"' if name in TRAINING else BASE[name]  # as in an image of some of the packages
        raise UsageError(f"{verb}: this needs {name}: pip install {package}", code="not-installed") from None


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """Take SIGTERM as Ctrl-C where nothing else waits for it: before a training begins, and after it.

    Exit code 130 in place of a process that is gone without a word; temporary files are removed.
    """
    ours = os.getpid()

    def end(number: int, frame: object) -> None:
        if os.getpid() == ours:
            raise KeyboardInterrupt
        signal.signal(number, signal.SIG_DFL)  # a process that was forked from this one
        signal.raise_signal(number)

    try:
        before = signal.signal(signal.SIGTERM, end)
    except ValueError:  # not in the main thread
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _analysis(args: list[str]) -> tuple[str, list[str]]:
    """`quantize RUN --analyze [True]` is `analyze RUN`; words and flags beside it are those of `analyze`."""
    parts = [part for arg in args for part in (arg.split("=", 1) if arg.startswith("--analyze=") else (arg,))]
    if "--analyze" not in parts:
        return "quantize", args
    at = parts.index("--analyze")
    value = parts[at + 1] if parts[at + 1 : at + 2] in (["True"], ["False"]) else ""
    rest = parts[:at] + parts[at + 1 + bool(value) :]
    return ("quantize" if value == "False" else "analyze"), rest


if __name__ == "__main__":
    sys.exit(main())
