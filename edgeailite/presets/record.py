"""The record of a preset, and the parts that many share: recipes and addresses of weights to start from."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Preset:
    """A named recipe: its line in `--list`, the verb, its flags, and the word that the user adds first ("": none)."""

    line: str
    verb: str
    flags: str
    takes: str = ""


@dataclass(frozen=True)
class Start:
    """Pretrained weights and the learning recipe that were published for a kind of backbone."""

    pretrained: str
    recipe: str

    @property
    def flags(self) -> str:
        """Return both, as flags; a head for other classes keeps its initial values."""
        weights = f"{self.pretrained} --allow_head_mismatch True" if self.pretrained else "none"
        return f"--pretrained {weights} {self.recipe}"


# as the published pipeline sees pictures
VIEWS = "--pipeline published --interpolation area --rand_scale 1.0 2.0 --rotation 5"
_STEPS = f"{VIEWS} --schedule_by epoch --warmup_epochs 5 --epochs 250 --weight_decay 1e-4"
ADAM = (
    f"{_STEPS} --optimizer adam --lr 4e-4 --scheduler step --milestones 100 200 --multistep_gamma 0.25 --batch_size 12"
)
SGD = f"{_STEPS} --optimizer sgd --lr 1e-1 --scheduler cosine --batch_size 16"
_SIXTY = (
    f"{VIEWS} --schedule_by epoch --warmup_epochs 5 --epochs 60 --weight_decay 4e-5 --optimizer sgd --scheduler cosine"
)
SIXTY_MOBILENET = f"{_SIXTY} --lr 5e-2 --batch_size 32"
SIXTY_REGNET = f"{_SIXTY} --lr 1e-1 --batch_size 32"

_TORCHVISION = "https://download.pytorch.org/models"
_PYCLS = "https://dl.fbaipublicfiles.com/pycls/dds_baselines"
WEIGHTS = {
    "mobilenetv2": f"{_TORCHVISION}/mobilenet_v2-b0353104.pth",
    "mobilenetv2_1p4": "",  # none are published
    "resnet50": f"{_TORCHVISION}/resnet50-19c8e357.pth",
    "resnet50_p5": "",
    "regnetx400mf": f"{_PYCLS}/160905967/RegNetX-400MF_dds_8gpu.pyth",
    "regnetx800mf": f"{_PYCLS}/160906036/RegNetX-800MF_dds_8gpu.pyth",
    "regnetx1p6gf": f"{_PYCLS}/160990626/RegNetX-1.6GF_dds_8gpu.pyth",
    "regnetx3p2gf": f"{_PYCLS}/160906139/RegNetX-3.2GF_dds_8gpu.pyth",
}


def size_flags(height: int, width: int, *, crop: tuple[int, int] | None = None) -> str:
    """Return the flags for the size of pictures, and of training crops if they are smaller."""
    return f"--img_resize {height} {width}" + (f" --rand_crop {crop[0]} {crop[1]}" if crop else "")
