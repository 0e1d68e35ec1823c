"""What scores are called for people, by the names that they have in metrics.csv, JSON and contracts."""

from __future__ import annotations

from dataclasses import dataclass

PER_CENT = "%"


@dataclass(frozen=True)
class Metric:
    """A score's name, its unit (`%`: a share shown in per cent; "": a number), and whether lower is better."""

    name: str
    unit: str = ""
    lower: bool = False

    @property
    def per_cent(self) -> bool:
        """Return whether it is a share, shown in per cent."""
        return self.unit == PER_CENT

    @property
    def words(self) -> str:
        """Return name and unit, as the head of a row or column: `mIoU, %`."""
        return f"{self.name}, {self.unit}" if self.unit else self.name


METRICS = {
    "miou": Metric("mIoU", PER_CENT),
    "pixel_accuracy": Metric("pixel accuracy", PER_CENT),
    "overall": Metric("mean of these two", PER_CENT),
    "boundary_iou": Metric("boundary IoU", PER_CENT),
    "boundary_f": Metric("boundary F", PER_CENT),
    "ard": Metric("ARD", PER_CENT, lower=True),
    "rmse": Metric("RMSE", "m", lower=True),
    "rmse_metres": Metric("RMSE", "m", lower=True),
    "top1": Metric("top-1", PER_CENT),
    "top5": Metric("top-5", PER_CENT),
    "score": Metric("score", PER_CENT),
    "accuracy": Metric("accuracy", PER_CENT),
    "outliers": Metric("outliers", PER_CENT, lower=True),
}
# Of a score that is not in the table, as published: lower is better where its name says so.
LOWER = ("error", "loss", "norm", "diff", "outlier")


def metric_of(score: str) -> tuple[str, Metric]:
    """Return (output or "", metric) of a score.

    >>> metric_of("depth_ard")[0], metric_of("depth_ard")[1].words
    ('depth', 'ARD, %')
    >>> metric_of("endpoint_error")
    ('', Metric(name='endpoint error', unit='', lower=True))
    """
    for key in sorted(METRICS, key=len, reverse=True):
        if score == key or score.endswith("_" + key):
            return score[: -len(key)].rstrip("_"), METRICS[key]
    return "", Metric(score.replace("_", " "), lower=any(word in score for word in LOWER))


def in_words(score: str) -> str:
    """Return what a score is called in tables for people.

    >>> in_words("miou"), in_words("motion_miou")
    ('mIoU, %', 'motion mIoU, %')
    """
    output, metric = metric_of(score)
    return f"{output} {metric.words}".strip()
