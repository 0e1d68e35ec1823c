"""Names of scores for people."""

import pytest

from edgeailite.metrics.names import METRICS, in_words, metric_of


@pytest.mark.parametrize(
    ("column", "output", "lower"),
    [
        ("miou", "", False), ("motion_miou", "motion", False), ("depth_ard", "depth", True),
        ("segmentation_pixel_accuracy", "segmentation", False), ("depth_outliers", "depth", True),
        ("endpoint_error", "", True), ("fscore", "", False), ("standard", "", False),
    ],
)  # fmt: skip
def test_metrics_by_their_column(column, output, lower):
    found, metric = metric_of(column)
    assert (found, metric.lower) == (output, lower)


@pytest.mark.parametrize("score", METRICS)
def test_a_score_of_one_output_and_of_several(score):
    assert metric_of(score) == ("", METRICS[score])
    assert metric_of(f"motion_{score}") == ("motion", METRICS[score])
    assert in_words(f"motion_{score}") == f"motion {in_words(score)}"
