"""Which options of the float run quantization-aware training takes over."""

from __future__ import annotations

from edgeailite.config import TrainConfig
from edgeailite.config.stored import plain
from edgeailite.runs.checkpoint import Checkpoint
from edgeailite.training.quantized_run import float_config
from tests.export.toy import toy_card


def test_a_network_of_other_people_sees_pictures_as_they_are_or_mirrored():
    card = toy_card()
    found = float_config(Checkpoint(card, {}, {}))
    assert (found.rand_scale, found.rotation, found.color_jitter, found.flip) == ((1.0, 1.0), 0.0, 0.0, True)
    assert found.img_resize == card.preprocessing.size


def test_a_run_of_ours_keeps_its_augmentation_at_the_card_s_size():
    own = TrainConfig(rand_scale=(0.6, 1.5), rotation=3.0, color_jitter=0.2, img_resize=(60, 92), rand_crop=(32, 48))
    found = float_config(Checkpoint(toy_card(), {}, plain(own)))
    assert (found.rand_scale, found.rotation, found.color_jitter) == ((0.6, 1.5), 3.0, 0.2)
    assert found.img_resize == toy_card().preprocessing.size
    assert found.rand_crop is None  # it may be larger than the new size
