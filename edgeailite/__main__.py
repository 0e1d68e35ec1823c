"""The command line: a table verb -> (module, configuration, one line). Modules are imported when their verb runs."""

from __future__ import annotations

import difflib
import importlib
import io
import os
import sys
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

from edgeailite import __version__

# A verb of two words is one of a group: `edgeailite data` and `edgeailite data --help` list it.
VERBS: dict[str, tuple[str, str, str]] = {
    "demo": ("demo", "DemoConfig", "the whole line in minutes, on generated data"),
    "models": ("models", "ModelsConfig", "list networks with parameters and GigaMACs"),
    "choose": ("choose", "ChooseConfig", "networks within a budget of GigaMACs or milliseconds"),
    "complexity": ("complexity", "ComplexityConfig", "what a network costs, layer by layer"),
    "data get": ("data_get", "DataGetConfig", "download a data set, or how to get it"),
    "data check": ("data_check", "DataCheckConfig", "the doctor of data sets: every picture, mask and split"),
    "data stats": ("data_stats", "DataStatsConfig", "counts, sizes, colours, classes, class weights"),
    "data show": ("data_show", "DataShowConfig", "a contact sheet of pictures and masks"),
    "data cache": ("data_cache", "DataCacheConfig", "decode and resize pictures once, for train --cache"),
    "train": ("train", "TrainConfig", "train a network from labelled images"),
    "validate": ("validate", "ValidateConfig", "accuracy of a run, a checkpoint or an ONNX file"),
    "compare": ("compare", "CompareConfig", "two models on the same pictures: is the difference real?"),
    "calibrate": ("calibrate", "CalibrateConfig", "quantize after training, from a few pictures"),
    "analyze": ("analyze", "AnalyzeConfig", "what quantizing each layer costs; plans of mixed precision"),
    "quantize": ("quantize", "QuantizeConfig", "quantization-aware training from a float run"),
    "export": ("export", "ExportConfig", "write float or int8 ONNX"),
    "verify": ("verify", "VerifyConfig", "prove that the file gives the validated answers"),
    "infer": ("infer", "InferConfig", "label pictures and videos: PNG, overlay, shares"),
    "serve": ("serve", "ServeConfig", "label pictures over HTTP, with a web page"),
    "report": ("report", "ReportConfig", "one HTML file of a run"),
    "bench": ("bench", "BenchConfig", "measure how long networks take on this machine"),
    "devices list": ("devices_list", "DevicesListConfig", "devices that estimates know, with their figures"),
    "devices fit": ("devices_fit", "DevicesFitConfig", "calibrate a device from measured networks"),
    "presets": ("presets", "PresetsConfig", "list the presets of run_edgeailite_segmentation.sh"),
    "doctor": ("doctor", "DoctorConfig", "what is wrong with this installation, and the fix"),
}
OUT_OF_MEMORY = ("can't allocate memory", "not enough memory", "CUDA out of memory")  # in torch's RuntimeErrors
LONGEST_ERROR = 1900  # characters of an error; the middle of a longer one is left out
EXIT_CODES = "0 ok, 1 listed failures, 2 usage, 3 data, 4 parity, 5 diverged, 130 interrupted"


def usage() -> str:
    """The text of `edgeailite --help`."""
    rows = "\n".join(f"  {verb:<11} {line}" for verb, (_, _, line) in VERBS.items())
    return (
        f"edgeailite {__version__}: from labelled images to a proven int8 ONNX file\n\n"
        f"usage: edgeailite VERB [options]      edgeailite VERB --help\n"
        f"       edgeailite preset NAME [RUN] [options]\n\n"
        f"{rows}\n\nexit codes: {EXIT_CODES}\n"
    )


def group_usage(word: str, group: list[str]) -> str:
    """The text of `edgeailite WORD --help` for verbs that start with one word."""
    rows = "\n".join(f"  {verb:<12} {VERBS[verb][2]}" for verb in group)
    return f"usage: edgeailite {word} VERB [options]      edgeailite {word} VERB --help\n\n{rows}\n"


def main(arguments: list[str] | None = None) -> int:
    """Run one verb; returns its exit code."""
    args = sys.argv[1:] if arguments is None else list(arguments)
    if not args or args[0] in ("-h", "--help", "help"):
        print(usage())
        return 0 if args else 2
    if args[0] == "--version":
        print(__version__)
        return 0
    return reporting(lambda: _run(args[0], args[1:]))


def reporting(action: Callable[[], int]) -> int:
    """The action's exit code; errors that a user can act on are printed as one line and give theirs.

    Names and values of strangers stand in these lines: they are printed without control characters.
    """
    from edgeailite.errors import EdgeailiteError, spell_options_as_flags

    _print_anything()
    spell_options_as_flags()
    if find_spec("rich") is not None:  # `verify FILE contract.json` runs without
        from edgeailite.console import show_notes

        show_notes()
    try:
        return action()
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
    from edgeailite.errors import UsageError

    if verb == "preset":
        from edgeailite.presets import expand

        verb, args = expand(args)
    if verb == "quantize":
        verb, args = _analysis(args)
    group = [name for name in VERBS if name.startswith(f"{verb} ")]
    if group:
        if not args or args[0] in ("-h", "--help", "help"):
            print(group_usage(verb, group))
            return 0 if args else 2
        verb, args = f"{verb} {args[0]}", args[1:]
    if verb not in VERBS:
        near = difflib.get_close_matches(verb, VERBS, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise UsageError(f"unknown verb {verb!r}{hint} (edgeailite --help lists them)")
    module, config_name, _ = VERBS[verb]
    from edgeailite.cli import parse

    config: Any = parse(config_name, args, prog=f"edgeailite {verb}")
    command = importlib.import_module(f"edgeailite.commands.{module}")
    return int(command.run(config))


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
