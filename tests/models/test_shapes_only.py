"""Networks without values have the shapes of real ones."""

import subprocess
import sys

import torch

from edgeailite.models import create_model
from edgeailite.models.shapes_only import shapes_only

NAME = "unet_aspp_mobilenetv2_tv_edgeailite"


def test_shapes_are_those_of_a_real_network():
    with shapes_only():
        without = create_model(NAME, upsampling="deconvolution").state_dict()
    real = create_model(NAME, upsampling="deconvolution").state_dict()
    assert {key: value.shape for key, value in without.items()} == {key: value.shape for key, value in real.items()}
    assert {value.device.type for value in without.values()} == {"meta"}


def test_values_are_made_again_outside():
    with shapes_only():
        create_model(NAME)
    assert float(torch.nn.init.ones_(torch.empty(3)).sum()) == 3.0


def test_counting_a_network_does_not_load_the_compiler():
    code = (
        "import sys\n"
        "from edgeailite.__main__ import main\n"
        f"main(['complexity', '{NAME}', '--json', 'True'])\n"
        "assert not {'torch._dynamo', 'onnx', 'matplotlib', 'cv2'} & set(sys.modules)\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
