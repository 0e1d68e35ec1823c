"""Liveness on a diamond whose answer can be seen."""

from edgeailite.cost import Layer, Value, held_bytes

X, A, B, C, OUT = (Value(name, (size,), 1) for name, size in (("x", 1), ("a", 10), ("b", 100), ("c", 1000), ("out", 5)))
DIAMOND = (
    Layer("1", "op", (X,), (A,)),
    Layer("2", "op", (A,), (B,)),
    Layer("3", "op", (A, B), (C,)),
    Layer("4", "op", (C,), (OUT,)),
)


def test_a_value_lives_from_its_layer_to_the_last_that_reads_it():
    assert held_bytes(DIAMOND, (X,), (OUT,)) == (11, 111, 1111, 1006)


def test_outputs_stay_and_inputs_belong_to_the_caller():
    assert held_bytes(DIAMOND, (X,), (A, OUT)) == (11, 111, 1111, 1016)


def test_what_nobody_reads_goes_at_once():
    unread = Layer("0", "op", (X,), (Value("unread", (50,), 1),))
    assert held_bytes((unread, *DIAMOND), (X,), (OUT,)) == (51, 11, 111, 1111, 1006)


def test_one_name_is_one_memory():
    in_place = Layer("2", "relu", (A,), (A,))
    assert held_bytes((DIAMOND[0], in_place), (X,), (A,)) == (11, 11)
