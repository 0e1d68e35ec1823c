"""The verbs of the command line, in one table: what each is, in which module, with which options.

Names only, so that `edgeailite --help` imports nothing else.
"""

from __future__ import annotations

from typing import NamedTuple


class Verb(NamedTuple):
    """A verb: its module in `commands`, its class in `config`, one line about it, and the options given without name.

    `words` are the options that the words before the first flag stand for, in order; a + after the last takes all that
    are left.
    """

    module: str
    config: str
    line: str
    words: tuple[str, ...] = ()


# heading in `edgeailite --help`: its verbs. A verb of two words is one of a family: `edgeailite data --help` lists it.
GROUPS: dict[str, dict[str, Verb]] = {
    "start here": {
        "demo": Verb("demo", "DemoConfig", "every step in minutes, on generated data"),
        "doctor": Verb("doctor", "DoctorConfig", "what is wrong with this installation, and the fix"),
        "presets": Verb("presets", "PresetsConfig", "list the published recipes, each a command in one word"),
    },
    "data": {
        "data get": Verb("data_get", "DataGetConfig", "download a data set, or say how to get it", ("dataset_name",)),
        "data check": Verb("data_check", "DataCheckConfig", "find errors in pictures, masks and splits"),
        "data split": Verb("data_split", "DataSplitConfig", "divide your pictures into train and val", ("data_path",)),
        "data stats": Verb("data_stats", "DataStatsConfig", "counts, sizes, colours, classes, class weights"),
        "data show": Verb("data_show", "DataShowConfig", "a contact sheet of pictures and masks"),
        "data cache": Verb("data_cache", "DataCacheConfig", "decode and resize pictures once, for train --cache"),
    },
    "choose a network": {
        "models": Verb("models", "ModelsConfig", "list networks with parameters and GigaMACs", ("pattern",)),
        "choose": Verb("choose", "ChooseConfig", "networks within a budget of GigaMACs or milliseconds"),
        "complexity": Verb("complexity", "ComplexityConfig", "what a network costs, layer by layer", ("model",)),
        "card": Verb("card", "CardConfig", "describe an ONNX file from elsewhere, for the other verbs", ("file",)),
        "import": Verb(
            "import_weights", "ImportConfig", "weights from elsewhere to a run, for all verbs", ("checkpoint+",)
        ),
    },
    "train and quantize": {
        "train": Verb("train", "TrainConfig", "train a network from labelled images"),
        "calibrate": Verb("calibrate", "CalibrateConfig", "quantize after training, from a few pictures", ("run",)),
        "quantize": Verb("quantize", "QuantizeConfig", "quantization-aware training from a float run", ("run",)),
        "analyze": Verb("analyze", "AnalyzeConfig", "rank layers by what quantizing each costs; plan bits", ("run",)),
    },
    "prove": {
        "validate": Verb("validate", "ValidateConfig", "accuracy of a run, a checkpoint or an ONNX file", ("model",)),
        "compare": Verb("compare", "CompareConfig", "two models on the same pictures: is one better?", ("a", "b")),
        "export": Verb("export", "ExportConfig", "write float or int8 ONNX", ("run",)),
        "verify": Verb(
            "verify", "VerifyConfig", "prove that the file gives the validated answers", ("model", "contract")
        ),
        "report": Verb("report", "ReportConfig", "one HTML file about a run", ("model",)),
    },
    "use": {
        "infer": Verb("infer", "InferConfig", "label pictures and videos: PNG, overlay, shares", ("model", "input+")),
        "serve": Verb("serve", "ServeConfig", "label pictures over HTTP, with a web page", ("models+",)),
    },
    "measure": {
        "bench": Verb("bench", "BenchConfig", "how long networks take on this machine", ("models+",)),
        "devices list": Verb("devices_list", "DevicesListConfig", "devices whose times can be estimated", ("device",)),
        "devices fit": Verb("devices_fit", "DevicesFitConfig", "describe a device, from measured times", ("models+",)),
    },
}
VERBS: dict[str, Verb] = {name: verb for group in GROUPS.values() for name, verb in group.items()}
MANY = "+"  # after the last of a verb's words: it takes all words that are left


def verbs_of(family: str) -> list[str]:
    """Return the verbs of two words that begin with `family`, e.g. those of "data"; [] without any."""
    return [name for name in VERBS if name.startswith(f"{family} ")]
