"""Counts of a job against a clock that the test turns."""

from edgeailite.inference.rates import Rates


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def values(text: str) -> dict[str, str]:
    return dict(line.split() for line in text.splitlines() if not line.startswith("#"))


def test_rate_and_time_left():
    clock = Clock()
    rates = Rates(40, 40, clock=clock)
    for index in range(10):
        rates.add(failed=index == 3)
    clock.now += 5
    assert (rates.per_second, rates.seconds_left) == (2.0, 15.0)
    assert rates.words() == "1 failed, 2.0 per second"
    found = values(rates.text())
    assert found["edgeailite_pictures_done_total"] == "10" and found["edgeailite_pictures"] == "40"
    assert found["edgeailite_seconds_left"] == "15" and found["edgeailite_finished"] == "0"


def test_what_is_not_known_is_no_number():
    rates = Rates(None)
    rates.add(failed=False)
    found = values(rates.text())
    assert found["edgeailite_pictures"] == found["edgeailite_seconds_left"] == "NaN"


def test_the_file_is_written_now_and_then(tmp_path):
    clock, path = Clock(), tmp_path / "job.prom"
    rates = Rates(3, 3, path, clock)
    rates.add(failed=False)
    first = path.read_text()
    rates.add(failed=False)
    assert path.read_text() == first
    clock.now += 2
    rates.add(failed=False)
    assert values(path.read_text())["edgeailite_pictures_done_total"] == "3"
    rates.write(finished=True)
    assert values(path.read_text())["edgeailite_finished"] == "1"
