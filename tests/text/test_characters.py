"""Characters of words."""

import pickle

import numpy as np

from skattn.text._characters import CharacterCodes


def test_characters_are_numbered_by_the_alphabet_behind_padding_and_unknown():
    codes = CharacterCodes().fit([["ba", "Bab"], ["c"]])
    assert codes.codes_ == {"B": 2, "a": 3, "b": 4, "c": 5}
    assert codes.n_codes_ == 6


def test_words_are_padded_behind_their_end_to_the_longest_training_word():
    codes = CharacterCodes().fit([["ba", "Bab"], ["c"]])
    first, second = codes.transform([["ab", "xBa"], ["c"]])
    assert first.dtype == np.int64
    assert first.tolist() == [[3, 4, 0], [1, 2, 3]]
    assert second.tolist() == [[5, 0, 0]]


def test_of_long_words_the_start_and_the_end_are_kept():
    even = CharacterCodes(max_length=4).fit([["abcdefgh"]])
    assert even.transform([["abcdefgh"]])[0].tolist() == [[2, 3, 8, 9]]
    odd = CharacterCodes(max_length=3).fit([["abcdefgh"]])
    assert odd.transform([["abcdefgh"]])[0].tolist() == [[2, 3, 9]]
    single = CharacterCodes(max_length=1).fit([["abcdefgh"]])
    assert single.transform([["abcdefgh"]])[0].tolist() == [[2]]


def test_words_longer_than_those_of_the_training_are_cut_too():
    codes = CharacterCodes().fit([["abcd"]])
    assert codes.transform([["abxxxcd", "abcd"]])[0].tolist() == [[2, 3, 4, 5]] * 2


def test_texts_without_words_and_words_without_characters_keep_the_shape():
    codes = CharacterCodes().fit([["ab", ""], []])
    empty, word = codes.transform([[], [""]])
    assert empty.shape == (0, 2)
    assert empty.dtype == np.int64
    assert word.tolist() == [[0, 0]]


def test_equally_many_words_still_give_an_array_of_arrays():
    rows = CharacterCodes().fit([["a"], ["b"]]).transform([["a"], ["b"]])
    assert rows.shape == (2,)
    assert rows.dtype == object


def test_codes_survive_a_pickle():
    codes = CharacterCodes().fit([["ab", "cde"]])
    again = pickle.loads(pickle.dumps(codes))
    assert (
        again.transform([["dab"]])[0].tolist() == codes.transform([["dab"]])[0].tolist()
    )
