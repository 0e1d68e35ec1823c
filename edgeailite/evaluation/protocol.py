"""The way a split is measured: at which sizes, through which window, on which of its pictures."""

from __future__ import annotations

from dataclasses import dataclass

from edgeailite.data.augment.transforms import EvalTransform
from edgeailite.evaluation.views import PLAIN, Views
from edgeailite.evaluation.windows import sliding_window
from edgeailite.preprocessing import Preprocessing
from edgeailite.runs.predictors import Predict


@dataclass(frozen=True)
class Protocol:
    """Options of a measurement; sizes are (height, width) in pixels.

    Pictures are brought to `img_resize`, by default the network's size; with a `window` or short edges they keep their
    own. `stride` between windows is two thirds of the window by default. Labels are compared at `output_size`, by
    default their own. `epoch_size` is that of `part_of`. `boundary` measures edges as well.
    """

    views: Views = PLAIN
    window: tuple[int, int] | None = None
    stride: tuple[int, int] | None = None
    img_resize: tuple[int, int] | None = None
    output_size: tuple[int, int] | None = None
    epoch_size: float = 0.0
    boundary: bool = False

    def transform(self, preprocessing: Preprocessing) -> EvalTransform:
        """Return the transform that makes samples for a network of this preprocessing."""
        own = self.window is not None or self.views.short_edges
        size = self.img_resize or (None if own else preprocessing.size)
        return EvalTransform(size, preprocessing.interpolation, self.output_size)

    def input_size(self, preprocessing: Preprocessing) -> tuple[int, int] | None:
        """Return the size at which a network of this preprocessing sees pictures; None where there are several."""
        if self.window is not None or self.views.short_edges or self.views.scales != (1.0,):
            return None
        return self.img_resize or preprocessing.size

    def predictor(self, predict: Predict) -> Predict:
        """Return the predictor, sliding through the window if there is one."""
        if self.window is None:
            return predict
        height, width = self.window
        return sliding_window(predict, self.window, self.stride or (-(-height * 2 // 3), -(-width * 2 // 3)))


def part_of(total: int, epoch_size: float) -> list[int]:
    """Return evenly spaced indices out of `total`: all for 0, a share below 1, else a number of pictures.

    The published option draws pictures at random and with replacement; these are the same at every call.
    """
    if epoch_size == 0:
        return list(range(total))
    count = min(total, max(1, round(total * epoch_size if epoch_size < 1 else epoch_size)))
    return [index * total // count for index in range(count)]
