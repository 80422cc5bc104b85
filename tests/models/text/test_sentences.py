"""Sentences are joined as the text encoder reads them, and pooled as if each stood alone."""

import torch

from models.method import TextSource, Tokens
from models.text.sentences import join_sentences, pool_sentences, read_sentences, split_report
from models.text.tokenizer import WordPieceTokenizer

TEXTS = ["1. No effusion. 2. The heart is enlarged", "Lungs are clear.", "One. Two three. Four is 2.5 cm. Seven."]
WHOLE = ["No effusion. The heart is enlarged.", TEXTS[1], TEXTS[2]]
PIECES = WordPieceTokenizer("all-MiniLM-L6-v2", 32)


def read(texts=TEXTS) -> Tokens:
    return read_sentences(TextSource(PIECES), texts, torch.device("cpu"))


def test_texts_are_split_behind_full_stops():
    assert split_report(TEXTS[0]) == ["No effusion", "The heart is enlarged"]
    assert split_report(TEXTS[2]) == ["One", "Two three", "Four is 2.5 cm", "Seven."]
    assert split_report("") == []
    tokens = read()
    assert tokens.ids.shape[:2] == (3, 4)
    assert tokens.mask.any(2).sum(1).tolist() == [2, 1, 4]
    alone = PIECES(["The heart is enlarged."])
    length = alone.ids.shape[1]
    assert torch.equal(tokens.ids[0, 1, :length], alone.ids[0])
    assert not tokens.mask[0, 1, length:].any()


def test_joined_sentences_are_the_tokens_of_the_whole_text():
    joined = join_sentences(read(), PIECES, 32)
    for row, text in enumerate(WHOLE):
        expected = PIECES.encode([text])[0]
        assert joined.tokens.ids[row][joined.tokens.mask[row]].tolist() == expected
        assert int(joined.lengths[row].sum()) == len(expected) - 2
    assert (joined.tokens.ids[~joined.tokens.mask] == PIECES.pad).all()


def test_what_does_not_fit_whole_is_left_out_with_all_behind_it():
    whole = join_sentences(read(), PIECES, 32).lengths[2].tolist()
    room = whole[0] + whole[1] + whole[3]  # not for the third, though for the fourth
    assert whole[3] < whole[2]
    joined = join_sentences(read(), PIECES, room + 2)
    assert joined.lengths[2].tolist() == [whole[0], whole[1], 0, 0]
    assert joined.tokens.ids.shape[1] <= room + 2
    first = join_sentences(read(TEXTS[1:2]), PIECES, 4)  # is cut
    assert first.tokens.ids[0].tolist() == [PIECES.start, *PIECES.encode([TEXTS[1]])[0][1:3], PIECES.end]


def test_a_sentence_is_pooled_over_its_own_tokens():
    states = torch.randn(2, 7, 3, dtype=torch.float64)
    lengths = torch.tensor([[2, 3], [4, 0]])
    for pooling, pool in (("max", lambda rows: rows.amax(0)), ("mean", lambda rows: rows.mean(0))):
        found = pool_sentences(states, lengths, pooling)
        torch.testing.assert_close(found[0, 0], pool(states[0, 1:3]))
        torch.testing.assert_close(found[0, 1], pool(states[0, 3:6]))
        torch.testing.assert_close(found[1, 0], pool(states[1, 1:5]))
        assert not found[1, 1].any()
