"""Tokenizers: the section `[tokenizer]`, training of a byte-level BPE, and whether one fits a model.

Every text is a sequence of bytes, so nothing is unknown. Digits stand alone, letters and the space
before them together. Training is by the library `tokenizers`: the same texts, in any order and with any
number of threads, give the same bytes. An existing tokenizer is extended in `extension.py`.
"""

import shutil
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from fedward_server.pretraining.corpus.sources import Language
from fedward_server.pretraining.sampling import Text, sample
from fedward_shared.errors import DataError, ModelError
from fedward_shared.terms import Terms

Objective = Literal["masked", "causal", "spans"]

LONGEST = 48
"""Bytes of the longest piece: a Chinese phrase of 16 characters, no sentence that is often repeated."""
SEEN = 2
"""What stands together only once is no piece."""
PADDING = 1024
"""A vocabulary may be padded by fewer rows than this."""

ROLES: dict[Objective, dict[str, str]] = {
    "masked": {
        "pad_token": "[PAD]",
        "bos_token": "[CLS]",
        "cls_token": "[CLS]",
        "eos_token": "[SEP]",
        "sep_token": "[SEP]",
        "mask_token": "[MASK]",
    },
    "causal": {"pad_token": "[PAD]", "bos_token": "[BOS]", "eos_token": "[EOS]"},
    "spans": {"pad_token": "[PAD]", "eos_token": "[EOS]"},
}
"""The special tokens by what transformers calls them; their numbers are the first of the vocabulary."""

FRAMES: dict[Objective, str | None] = {
    "masked": "[CLS] $A [SEP]",
    "causal": None,
    "spans": "$A [EOS]",
}
"""What the finished tokenizer puts around a text."""


class TokenizerTerms(Terms):
    """The section `[tokenizer]`.

    `folder`: an existing tokenizer, otherwise one is trained. `merges`: how many are learned; to an
    existing tokenizer they are added, and 0 keeps it as it is. `keep`: the languages that an existing
    tokenizer has to cut as before; `keep_ascii`: any text in ASCII too, which is right unless the new
    language is written in Latin letters. `languages`: those that get a tag, `[EN]`. `sentinels`: how
    many `<extra_id_n>` an encoder-decoder has. `sample`: how many characters are learned from, shared
    out among the languages by their part of the corpus to the power of `smoothing` (Conneau and
    Lample 2019). The rows of the embeddings are padded to a `multiple`.
    """

    folder: Path | None = None
    merges: Annotated[int, Field(ge=0)] = 100_000
    keep: tuple[Language, ...] = ()
    keep_ascii: bool = True
    languages: tuple[Language, ...] = ()
    sentinels: Annotated[int, Field(ge=1)] = 100
    sample: Annotated[int, Field(gt=0)] = 200_000_000
    smoothing: Annotated[float, Field(gt=0, le=1)] = 0.3
    multiple: Annotated[int, Field(gt=0, le=PADDING)] = 128

    @model_validator(mode="after")
    def _kept(self) -> Self:
        if self.keep and self.folder is None:
            raise ValueError("keep: there is nothing to keep without a folder")
        return self


def make(terms: TokenizerTerms, objective: Objective, texts: Iterable[Text], seed: int) -> Any:
    """The tokenizer of these terms, as transformers' `PreTrainedTokenizerFast`.

    `texts` are (text, language), read once and only where something is learned. Memory is bounded by
    `sample` characters of each language. Raises DataError for a corpus without text, ModelError for a
    `folder` without a tokenizer or with one that cannot be extended.
    """
    if terms.folder is None:
        return train(
            sample(texts, terms.sample, terms.smoothing, seed),
            merges=terms.merges,
            objective=objective,
            languages=terms.languages,
            sentinels=terms.sentinels,
        )
    old = load(terms.folder)
    from fedward_server.pretraining.extension import extend, tagged

    if not terms.merges:
        return tagged(old, terms.languages) if terms.languages else old
    return extend(
        old,
        sample(texts, terms.sample, terms.smoothing, seed),
        merges=terms.merges,
        keep=terms.keep,
        keep_ascii=terms.keep_ascii,
        languages=terms.languages,
    ).tokenizer


def train(
    texts: Iterable[Text],
    *,
    merges: int,
    objective: Objective,
    languages: Sequence[str] = (),
    sentinels: int = 100,
) -> Any:
    """A byte-level BPE of at most so many merges, as few as the texts give. Raises DataError."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
    from tokenizers.trainers import BpeTrainer
    from transformers import PreTrainedTokenizerFast

    roles = ROLES[objective]
    special = [*dict.fromkeys(roles.values()), *_sentinels(objective, sentinels)]
    special += [tag(language) for language in languages]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    core.decoder = decoders.ByteLevel()
    core.train_from_iterator(
        _counted(texts),
        BpeTrainer(
            vocab_size=len(special) + len(alphabet) + merges,
            special_tokens=special,
            initial_alphabet=alphabet,
            min_frequency=SEEN,
            max_token_length=LONGEST,
            show_progress=False,
        ),
    )
    frame = FRAMES[objective]
    if frame is not None:
        core.post_processor = processors.TemplateProcessing(
            single=frame,
            special_tokens=[
                (word, core.token_to_id(word)) for word in frame.split() if word != "$A"
            ],
        )
    return PreTrainedTokenizerFast(tokenizer_object=core, **roles)


def tag(language: str) -> str:
    """The special token that says of what language the text after it is: `[EN]`."""
    return f"[{language.upper()}]"


def _sentinels(objective: Objective, count: int) -> list[str]:
    return [f"<extra_id_{n}>" for n in range(count)] if objective == "spans" else []


def _counted(texts: Iterable[Text]) -> Iterable[str]:
    number = 0
    for text, _ in texts:
        number += 1
        yield text
    if not number:
        raise DataError("the corpus has no text from which a tokenizer could be trained")


def load(folder: Path) -> Any:
    """The tokenizer of a Hugging Face folder; no code of its own is run. Raises ModelError."""
    from transformers import AutoTokenizer

    if not (folder / "tokenizer.json").is_file():
        raise ModelError(
            f"{folder}/tokenizer.json: no such file; a tokenizer is a Hugging Face folder with one"
        )
    try:
        return AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # what a damaged file raises there has no common class
        raise ModelError(f"{folder}: the tokenizer cannot be loaded: {error}") from error


def save(tokenizer: Any, folder: Path) -> None:
    """Writes it as a new folder, wholly or not at all. Raises OSError where `folder` holds something."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    building = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    try:
        tokenizer.save_pretrained(building)
        building.chmod(0o755)
        building.rename(folder)
    finally:
        shutil.rmtree(building, ignore_errors=True)


def rows(tokenizer: Any, multiple: int) -> int:
    """How many rows the embeddings have: the vocabulary, padded to a multiple."""
    return -(-len(tokenizer) // multiple) * multiple


def check_fits(tokenizer: Any, config: Any) -> None:
    """Raises ModelError for a tokenizer that is another model's: other rows, other special tokens."""
    has, takes = len(tokenizer), int(config.vocab_size)
    if not has <= takes < has + PADDING:
        raise ModelError(
            f"the tokenizer has {has} tokens and the model {takes} rows of embeddings: it is another "
            "model's; take the one from the model's folder, or resize the embeddings"
        )
    for role in ("pad", "bos", "eos", "cls", "sep", "mask"):
        name = f"{role}_token_id"
        own, wanted = getattr(tokenizer, name, None), getattr(config, name, None)
        allowed = wanted if isinstance(wanted, list) else [wanted]
        if own is not None and wanted is not None and own not in allowed:
            raise ModelError(
                f"{name}: the tokenizer has {own} and the model's configuration {wanted}: it is "
                "another model's; take the one from the model's folder"
            )
