"""More pieces for an existing byte-level BPE, such that its old languages are cut as before.

New merges are appended to the old ones and so come after them in every word: what the old merges make of
a word is the same, and a word changes only where a new pair stands in it. `extend` learns the new merges
from words as the old merges leave them (continued BPE training: Purason et al. 2025, arXiv:2512.03989),
so that each can happen; merges that were learned apart often cannot, as the old ones cut otherwise.
Pieces as added tokens would be cut out of every text before any merge, out of the middle of words too.

Never merged is a pair that stands in a text to be kept, and, with `keep_ascii`, one in ASCII on both
sides. By induction no new merge happens in such a text. For other texts nothing is promised; how many
change is measured.
"""

import json
import tempfile
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from fedward_server.pretraining.sampling import Text
from fedward_server.pretraining.tokenizers import SEEN, load, tag
from fedward_shared.errors import DataError, ModelError

PRIVATE = 0x10000
"""A piece is one character to the trainer: its number from here on, above the surrogates."""
LONGEST = 16
"""Old pieces of the longest new one."""

Pair = tuple[str, str]


@dataclass(frozen=True)
class Extension:
    """A tokenizer whose first tokens are those of the old one, with the same numbers.

    `kept` are the distinct words of the texts to be kept, `changed` those that are cut otherwise now.
    """

    tokenizer: Any
    added: int
    kept: int
    changed: int


def extend(
    old: Any,
    texts: Iterable[Text],
    *,
    merges: int,
    keep: Collection[str] = (),
    keep_ascii: bool = True,
    languages: Sequence[str] = (),
) -> Extension:
    """`old` with at most so many pieces more, learned from the `texts` whose language is not kept.

    Fewer come out where the texts have no more, or where a piece is in the old vocabulary already.
    Raises ModelError unless `old` is a byte-level BPE, DataError where nothing can be learned.
    """
    definition = _definition(old)
    _check(definition)
    core = old.backend_tokenizer
    kept, learned = _count(core, texts, keep)
    blocked = _blocked({pair for word in kept for pair in pairwise(_cut(core, word))}, keep_ascii)
    added = _append(definition, _learn(core, learned, merges, blocked), blocked)
    _tags(definition, languages)
    tokenizer = _wrapped(old, definition)
    new = tokenizer.backend_tokenizer
    changed = sum(_cut(core, word) != _cut(new, word) for word in kept)
    return Extension(tokenizer, added, len(kept), changed)


def tagged(old: Any, languages: Sequence[str]) -> Any:
    """`old` with the languages' tags, whatever its kind. Raises ModelError for one without a
    tokenizer.json."""
    definition = _definition(old)
    _tags(definition, languages)
    return _wrapped(old, definition)


def merge(
    first: Any, second: Any, *, keep_ascii: bool = True, languages: Sequence[str] = ()
) -> Extension:
    """`first` with the pieces of `second` that it lacks, in the order in which `second` learned them.

    Each is joined from the two pieces into which the vocabulary so far cuts it, so that it can happen;
    one that is cut into more is left out. Raises ModelError unless both are byte-level BPE.
    """
    definition, other = _definition(first), _definition(second)
    for each in (definition, other):
        _check(each)
    ranks = {tuple(pair): rank for rank, pair in enumerate(definition["model"]["merges"])}
    blocked = _blocked(set(), keep_ascii)
    found: list[Pair] = []
    for left, right in other["model"]["merges"]:
        parts = _joined(left + right, ranks)
        if len(parts) == 2 and (pair := (parts[0], parts[1])) not in ranks and not blocked(pair):
            ranks[pair] = len(ranks)
            found.append(pair)
    added = _append(definition, found, blocked)
    _tags(definition, languages)
    return Extension(_wrapped(first, definition), added, 0, 0)


def _definition(tokenizer: Any) -> dict[str, Any]:
    """What tokenizer.json says. Raises ModelError."""
    core = getattr(tokenizer, "backend_tokenizer", None)
    if core is None:
        raise ModelError("the tokenizer is none of the library tokenizers: it cannot be extended")
    found: dict[str, Any] = json.loads(core.to_str())
    return found


def _check(definition: dict[str, Any]) -> None:
    """Raises ModelError for another than a byte-level BPE."""
    kind, cutter = definition["model"]["type"], definition["pre_tokenizer"] or {}
    parts = [part["type"] for part in [cutter, *cutter.get("pretokenizers", ())] if part]
    if kind != "BPE" or "ByteLevel" not in parts:
        raise ModelError(
            f"the tokenizer is {kind} and no byte-level BPE: only such can be extended; leave out "
            "[tokenizer] folder to train one"
        )


def _count(
    core: Any, texts: Iterable[Text], keep: Collection[str]
) -> tuple[Counter[str], Counter[str]]:
    """The words of the languages to be kept, and those that are learned from. Raises DataError."""
    kept, learned = Counter[str](), Counter[str]()
    seen = set()
    for text, language in texts:
        seen.add(language)
        (kept if language in keep else learned).update(_words(core, text))
    if missing := sorted(set(keep) - seen):
        raise DataError(f"keep: the corpus has no text of {missing[0]}: nothing of it can be kept")
    if not learned:
        raise DataError("no text of another language than those to be kept: nothing can be learned")
    return kept, learned


def _words(core: Any, text: str) -> Iterator[str]:
    """What is cut apart before any merge, in the letters that stand for bytes."""
    if core.normalizer is not None:
        text = core.normalizer.normalize_str(text)
    return (word for word, _ in core.pre_tokenizer.pre_tokenize_str(text))


def _cut(core: Any, word: str) -> list[str]:
    return [token.value for token in core.model.tokenize(word)]


def _blocked(kept: set[Pair], keep_ascii: bool) -> Callable[[Pair], bool]:
    """Whether a pair must not be merged."""
    from tokenizers import pre_tokenizers

    letters = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    ascii_letters = {letters.pre_tokenize_str(chr(byte))[0][0] for byte in range(128)}

    def blocked(pair: Pair) -> bool:
        return pair in kept or (keep_ascii and ascii_letters.issuperset(pair[0] + pair[1]))

    return blocked


def _learn(
    core: Any, words: Counter[str], merges: int, blocked: Callable[[Pair], bool]
) -> list[Pair]:
    """The merges that the library's trainer finds where each old piece is one character to it."""
    from tokenizers import Tokenizer, models
    from tokenizers.trainers import BpeTrainer

    vocabulary = core.get_vocab(with_added_tokens=False)
    pieces = {number: piece for piece, number in vocabulary.items()}
    runs: Counter[str] = Counter()
    for word, times in words.items():
        for run in _runs(_cut(core, word), blocked):
            runs["".join(chr(PRIVATE + vocabulary[piece]) for piece in run)] += times
    if not runs:
        raise DataError("in the texts of the new language no two pieces may be joined")
    trainer = Tokenizer(models.BPE())
    trainer.train_from_iterator(
        (run for run, times in runs.items() for _ in range(times)),
        BpeTrainer(
            vocab_size=len(set().union(*runs)) + merges,
            min_frequency=SEEN,
            max_token_length=LONGEST,
            show_progress=False,
        ),
    )

    def piece(private: str) -> str:
        return "".join(pieces[ord(letter) - PRIVATE] for letter in private)

    found = json.loads(trainer.to_str())["model"]["merges"]
    return [(piece(left), piece(right)) for left, right in found]


def _runs(pieces: Sequence[str], blocked: Callable[[Pair], bool]) -> Iterator[list[str]]:
    """The parts of a word between blocked pairs, of two pieces or more."""
    run = list(pieces[:1])
    for pair in pairwise(pieces):
        if blocked(pair):
            yield from [run] if len(run) > 1 else []
            run = []
        run.append(pair[1])
    yield from [run] if len(run) > 1 else []


def _append(
    definition: dict[str, Any], pairs: Iterable[Pair], blocked: Callable[[Pair], bool]
) -> int:
    """Puts the pairs after the old merges, and their pieces after the old vocabulary; how many pieces.

    A pair that makes an old piece is left out: old merges could go on from it.
    """
    vocabulary: dict[str, int] = definition["model"]["vocab"]
    old = frozenset(vocabulary) | {token["content"] for token in definition["added_tokens"]}
    seen: set[Pair] = set()
    number = _next(definition)
    for pair in pairs:
        piece = pair[0] + pair[1]
        made = vocabulary.keys() >= set(pair)  # unless the merge before it was left out
        if piece in old or pair in seen or blocked(pair) or not made:
            continue
        seen.add(pair)
        definition["model"]["merges"].append(list(pair))
        if piece not in vocabulary:
            vocabulary[piece] = number
            number += 1
    return len(vocabulary.keys() - old)


def _next(definition: dict[str, Any]) -> int:
    """The number after the last of the vocabulary and of the added tokens."""
    numbers: list[int] = [token["id"] for token in definition["added_tokens"]]
    numbers += definition["model"]["vocab"].values()
    return max(numbers) + 1


def _tags(definition: dict[str, Any], languages: Sequence[str]) -> None:
    """Adds the tags that are not there yet, as special tokens."""
    there = {token["content"] for token in definition["added_tokens"]}
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    for content in (tag(language) for language in languages):
        if content not in there:
            token = {"id": _next(definition), "content": content, "special": True}
            definition["added_tokens"].append(token | flags)


def _joined(word: str, ranks: dict[Any, int]) -> list[str]:
    """What the merges make of a word: always the first of them that can be made."""
    parts = list(word)
    while len(parts) > 1:
        rank, place = min((ranks.get(p, len(ranks)), i) for i, p in enumerate(pairwise(parts)))
        if rank == len(ranks):
            break
        parts[place : place + 2] = [parts[place] + parts[place + 1]]
    return parts


def _wrapped(old: Any, definition: dict[str, Any]) -> Any:
    """A tokenizer of transformers like `old`, but with this tokenizer.json."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        old.save_pretrained(folder)
        (folder / "tokenizer.json").write_text(json.dumps(definition, ensure_ascii=False), "utf-8")
        return load(folder)
