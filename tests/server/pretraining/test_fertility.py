from rich.console import Console

from fedward_server.pretraining.fertility import Fertility, measure, table
from fedward_server.pretraining.tokenizers import train

TEXTS = (("One two, 34!", "en"), ("Drei", "de"), ("five", "en"))


def test_a_byte_a_token_is_counted_by_hand() -> None:
    tokenizer = train(TEXTS, merges=0, objective="masked")
    assert measure(tokenizer, TEXTS) == (
        Fertility("de", 1, 1, 4, 4, 4, 0),
        Fertility("en", 2, 4, 16, 16, 16, 0),
    )
    [chinese] = measure(tokenizer, [("心脏病很重。", "zh")])
    assert (chinese.characters, chinese.bytes, chinese.tokens) == (6, 18, 18)
    assert 1 <= chinese.words <= 5
    assert chinese.tokens_per_character == 3
    assert chinese.bytes_per_token == 1


def test_what_is_unknown_is_counted() -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    core = Tokenizer(models.WordPiece({"[UNK]": 0, "One": 1}, unk_token="[UNK]"))
    core.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, unk_token="[UNK]")
    [found] = measure(tokenizer, [("One two three One", "en")])
    assert (found.tokens, found.unknown_share) == (4, 0.5)


def test_the_table_has_a_row_for_each_language_and_tokenizer() -> None:
    measured = measure(train(TEXTS, merges=0, objective="masked"), TEXTS)
    console = Console(width=100)
    with console.capture() as capture:
        console.print(table([("before", measured), ("after", measured)]))
    lines = capture.get().splitlines()
    assert [line.split()[:2] for line in lines[1:]] == [
        ["de", "before"],
        ["de", "after"],
        ["en", "before"],
        ["en", "after"],
    ]
    assert lines[3].split()[2:] == ["4.00", "1.00", "1.00", "0.00%"]


def test_no_texts_have_no_fertility() -> None:
    assert measure(train(TEXTS, merges=0, objective="masked"), []) == ()
    assert Fertility("en", 1, 0, 0, 0, 0, 0).tokens_per_word == 0
