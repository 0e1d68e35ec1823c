"""The Pareto front against its definition."""

from hypothesis import given
from hypothesis import strategies as st

from edgeailite.cost import pareto


def beaten(point: tuple[float, float], other: tuple[float, float]) -> bool:
    return other[0] <= point[0] and other[1] >= point[1] and other != point


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9))))
def test_exactly_what_nobody_beats(points):
    front = [points[index] for index in pareto(points)]
    assert front == sorted({point for point in points if not any(beaten(point, other) for other in points)})


def test_of_equal_points_the_first_stays():
    assert pareto([(2, 1), (1, 1), (1, 1), (3, 5)]) == [1, 3]
