"""From words to a configuration: positional names, YAML files below flags, and one line when something is wrong."""

import dataclasses
import re
import sys
from pathlib import Path

import pytest
import yaml

from edgeailite import cli
from edgeailite import config as configs
from edgeailite.config import TrainConfig, VerifyConfig
from edgeailite.config.stored import plain, stored_config, train_config
from edgeailite.errors import DataError, UsageError
from edgeailite.presets import expand
from edgeailite.usage import verb_usage
from edgeailite.verbs import VERBS


def parsed(verb: str, *args: str):
    return cli.parse(verb, list(args))


def test_flags_as_published():
    config = parsed("train", "--img_resize", "384", "768", "--lr", "1e-3", "--channels_last", "False", "--workers", "0")
    assert (config.img_resize, config.lr, config.channels_last, config.workers) == ((384, 768), 1e-3, False, 0)
    assert parsed("train", "--epochs=7") == parsed("train", "--epochs", "7")
    assert parsed("train") == TrainConfig()
    assert parsed("train", "--workers", "auto").workers == "auto"


def test_words_before_the_flags_have_names():
    config = parsed("verify", "a.onnx", "contract.json", "--images", "3")
    assert (config.model, config.contract, config.images) == (Path("a.onnx"), Path("contract.json"), 3)
    assert parsed("verify", "run").contract is None
    assert parsed("infer", "run", "pictures", "--alpha", "0.3") == parsed(
        "infer", "--alpha", "0.3", "--input", "pictures", "--model", "run"
    )
    assert parsed("verify", "run", "--sizes", "64", "96", "33", "65").sizes == ((64, 96), (33, 65))


def test_a_list_on_stdin_is_a_word():
    assert parsed("infer", "run", "-", "--alpha", "0.3").input == (Path("-"),)
    assert parsed("infer", "run", "a.png", "b", "camera:0").input == (Path("a.png"), Path("b"), Path("camera:0"))


# --- YAML


def written(folder: Path, text: str) -> str:
    (folder / "options.yaml").write_text(text)
    return str(folder / "options.yaml")


def test_config_file_gives_defaults_that_flags_override(tmp_path):
    path = written(tmp_path, "epochs: 5\nlr: 1e-3\nimg_resize: [64, 96]\nchannels_last: false\nrand_crop: null\n")
    for words in (["--config", path, "--epochs", "9"], ["--epochs", "9", f"--config={path}"]):
        config = parsed("train", *words)
        assert config == TrainConfig(epochs=9, lr=1e-3, img_resize=(64, 96), channels_last=False)
    assert parsed("train", "--config", path).epochs == 5


def test_config_file_holds_what_is_required_and_lists_of_lists(tmp_path):
    path = written(tmp_path, "model: some run\nsizes: [[64, 96], [33, 65]]\n")
    assert parsed("verify", "--config", path) == VerifyConfig(Path("some run"), sizes=((64, 96), (33, 65)))


def test_config_yaml_of_a_run_repeats_it(tmp_path):
    config = TrainConfig(data_path=tmp_path, rand_crop=(64, 64), lr=0.1, milestones=(3, 5), device="cpu", threads=1)
    assert parsed("train", "--config", written(tmp_path, yaml.safe_dump(plain(config)))) == config
    assert train_config(yaml.safe_load(yaml.safe_dump(plain(config)))) == config


def test_empty_config_file_is_no_options(tmp_path):
    assert parsed("train", "--config", written(tmp_path, "")) == TrainConfig()


@pytest.mark.parametrize(
    "text, kind, reason",
    [
        ("epoch: 3\nlr: 1\n", UsageError, r"unknown options \['epoch'\]; use the names of the flags"),
        ("- a\n- b\n", UsageError, "unknown options list"),
        ("just words", UsageError, "unknown options str"),
        ("a: [1, 2\nb: ]", DataError, "cannot be read"),
        ("epochs: many", UsageError, "epochs"),
        ("epochs: -1", UsageError, "--epochs -1: expected at least 1"),
    ],
)
def test_wrong_config_file(tmp_path, text, kind, reason):
    with pytest.raises(kind, match=reason) as caught:
        parsed("train", "--config", written(tmp_path, text))
    assert "\n" not in str(caught.value)


def test_config_file_that_is_missing_or_no_text(tmp_path):
    with pytest.raises(DataError, match=r"--config .*gone\.yaml: cannot be read .*No such file"):
        parsed("train", "--config", str(tmp_path / "gone.yaml"))
    with pytest.raises(UsageError, match="--config: a YAML file must follow"):
        parsed("train", "--config")
    (tmp_path / "b.yaml").write_bytes(b"\xff\xfe\x00\xd8")
    with pytest.raises(DataError, match=r"b\.yaml: cannot be read"):
        parsed("train", "--config", str(tmp_path / "b.yaml"))


# --- wrong words

WRONG = {
    "unknown flag": (["train", "--epoch", "3"], r"unknown flag --epoch; did you mean --epochs\?"),
    "hyphens": (["train", "--img-resize", "64", "64"], r"unknown flag --img-resize; did you mean --img_resize\?"),
    "far from any flag": (["train", "--zzzz"], r"unknown flag --zzzz \(edgeailite train --help lists all\)"),
    "text for a number": (["train", "--epochs", "many"], "epochs.*many"),
    "fraction for a count": (["train", "--epochs", "1.5"], r"epochs.*1\.5"),
    "one of two numbers": (["train", "--img_resize", "64"], "img_resize"),
    "three of two numbers": (["train", "--img_resize", "64", "64", "64"], "64"),
    "no choice of that name": (
        ["train", "--optimizer", "sdg"],
        "train: invalid choice 'sdg' for argument '--optimizer'",
    ),
    "no value": (["train", "--epochs"], "epochs"),
    "negative": (["train", "--epochs", "-3"], "^edgeailite train: --epochs -3: expected at least 1"),
    "switch without value": (["train", "--channels_last"], "channels_last"),
    "word too many": (["export", "run", "file.onnx"], r"unexpected argument 'file\.onnx'; expected RUN, then --flags"),
    "word for a verb of flags": (["train", "camvid"], "unexpected argument 'camvid'; expected only flags"),
    "nothing to export": (["export"], "missing run; usage: edgeailite export RUN"),
    "nothing to label": (["infer", "run"], "missing input; usage"),
}


@pytest.mark.parametrize("words, reason", WRONG.values(), ids=WRONG)
def test_wrong_words_are_one_line(words, reason, capsys):
    with pytest.raises(UsageError, match=reason) as caught:
        parsed(*words)
    assert "\n" not in str(caught.value)
    assert not set("│╭╰─") & set(str(caught.value))
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help(verb, capsys):
    with pytest.raises(SystemExit) as stop:
        parsed(verb, "--help")
    assert stop.value.code == 0
    assert f"usage: edgeailite {verb}" in capsys.readouterr().out


def test_help_shows_the_line_below_each_option(capsys):
    with pytest.raises(SystemExit):
        parsed("train", "--help")
    assert "Random rotation up to this many degrees" in capsys.readouterr().out


# --- names of earlier versions

VALUES = {"img_resize": ["64", "96"], "num_classes": ["7"], "rows": ["3"], "models": ["a.onnx"], "device": ["tda4vm"],
          "dataset_name": ["camvid"], "save_path": ["lists"], "calibration_images": ["5"], "model": ["r"]}  # fmt: skip
BESIDE = {"data check": ["--fix", "list"], "bench": ["--models", "a.onnx"], "calibrate": ["--run", "r"]}
RENAMED = [
    (verb, old, new)
    for verb, row in VERBS.items()
    for old, new in getattr(getattr(configs, row.config), "renamed", {}).items()
]


@pytest.mark.parametrize("verb, old, new", RENAMED)
def test_earlier_names_are_the_present_ones(verb, old, new, tmp_path, capsys):
    value, beside = VALUES[new], BESIDE.get(verb, [])
    kind = getattr(configs, VERBS[verb].config)
    config = parsed(verb, f"--{new}", *value, *beside)
    assert getattr(config, new) != next(field.default for field in dataclasses.fields(kind) if field.name == new)
    assert parsed(verb, f"--{old}", *value, *beside) == config
    if len(value) == 1:
        assert parsed(verb, f"--{old}={value[0]}", *beside) == config
    path = written(tmp_path, yaml.safe_dump({old: plain(config)[new]}))
    assert parsed(verb, "--config", path, *beside) == config
    assert parsed(verb, "--config", written(tmp_path, f"{old}: [1, 1, 1]\n"), f"--{new}", *value, *beside) == config
    stored = plain(config)
    if verb != "bench":  # whose words no run keeps
        assert stored_config(kind, {**stored, old: stored[new]}, where="x") == config
        assert stored_config(kind, {old if name == new else name: v for name, v in stored.items()}, where="x") == config
    assert f"--{old} " not in verb_usage(VERBS[verb], kind, prog="x", columns=80)


def test_earlier_names_do_not_hide_other_options():
    for _, row in VERBS.items():
        kind = getattr(configs, row.config)
        names = {field.name for field in dataclasses.fields(kind)}
        renamed = getattr(kind, "renamed", {})
        assert not names & set(renamed)
        assert set(renamed.values()) <= names


def test_the_page_lists_the_earlier_names():
    page = (Path(__file__).resolve().parents[1] / "docs/options.md").read_text()
    rows = re.findall(r"^\| `([\w ]+)` \| `--(\w+)` \| `--(\w+)` \|$", page, re.MULTILINE)
    assert sorted(rows) == sorted(RENAMED)


@pytest.mark.parametrize("flag", ["--size", "--img_resize"])
def test_an_earlier_name_takes_the_place_of_a_presets_option(flag):
    verb, words = expand(["complexity_768x384", flag, "64", "96"])
    assert parsed(verb, *words).img_resize == (64, 96)
    assert "384" not in words


def test_an_option_means_one_type_everywhere():
    """Verbs that share a name share its type, but for those that docs/options.md names and what may be left out."""
    kinds: dict[str, set[str]] = {}
    for row in VERBS.values():
        for field in dataclasses.fields(getattr(configs, row.config)):
            kinds.setdefault(field.name, set()).add(str(field.type).replace(" | None", ""))
    several = {name for name, found in kinds.items() if len(found) > 1}
    assert several == {
        "device", "workers",  # of estimates; of a service
        "img_resize",  # complexity takes several
        "model", "pretrained", "resume",  # names of networks; two files; a folder, or of the run folder given
    }  # fmt: skip


# --- without tyro


def test_verify_of_a_file_needs_only_the_standard_library(monkeypatch):
    monkeypatch.setitem(sys.modules, "tyro", None)
    monkeypatch.setattr(cli, "find_spec", lambda name: None)
    config = parsed("verify", "a.onnx", "contract.json", "--skip_hash", "True", "--threads", "2")
    assert config == VerifyConfig(Path("a.onnx"), Path("contract.json"), skip_hash=True, threads=2)
    with pytest.raises(UsageError, match=r"only `verify FILE\.onnx contract\.json` and `doctor` work without tyro"):
        parsed("train")
    with pytest.raises(UsageError, match="contract"):
        parsed("verify", "a.onnx")
    with pytest.raises(UsageError, match="threads"):
        parsed("verify", "a.onnx", "contract.json", "--threads", "two")
    with pytest.raises(UsageError, match="split"):
        parsed("verify", "a.onnx", "contract.json", "--split", "val")


@pytest.mark.parametrize(
    ("words", "models"),
    [
        (["a.onnx"], ("a.onnx",)),
        (["a.onnx", "b.onnx", "--threads", "2"], ("a.onnx", "b.onnx")),
        (["--models", "a.onnx", "b.onnx"], ("a.onnx", "b.onnx")),
    ],
)
def test_a_verb_may_take_many_words(words, models):
    assert parsed("bench", *words).models == models
