import numpy as np

from speechlm.data.splitmix import mix, random_numbers

# The generator's first numbers from the state 1234567, as published with its reference
# implementations (Rosetta Code, "Pseudo-random numbers/Splitmix64").
PUBLISHED = [
    6457827717110365317,
    3203168211198807973,
    9817491932198370423,
    4593380528125082431,
    16408922859458223821,
]


def test_published_numbers_in_any_order():
    assert random_numbers(1234567, np.arange(1, 6)).tolist() == PUBLISHED
    assert random_numbers(1234567, np.array([[5, 1], [3, 3]])).tolist() == [
        [PUBLISHED[4], PUBLISHED[0]],
        [PUBLISHED[2], PUBLISHED[2]],
    ]


def test_states_count_modulo_2_to_the_64():
    assert random_numbers(1234567 + 2**64, np.arange(1, 6)).tolist() == PUBLISHED


def test_place_0_hashes_the_state_and_the_hash_works_in_place():
    given = np.array([7], np.uint64)
    expected = random_numbers(7, np.array([0]))
    assert mix(given) is given
    assert given.tolist() == expected.tolist() != [7]
