"""A small byte-level tokenizer with all that the objectives need, trained on a few texts."""

from functools import cache
from typing import Any

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

ROLES = {"pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]", "mask_token": "[MASK]"}
TEXTS = ("Cholera due to Vibrio cholerae 01, biovar eltor", "Typhoid fever with heart involvement")


@cache
def tokenizer() -> Any:
    special = [*ROLES.values(), "[EN]", "[ZH]", *(f"<extra_id_{n}>" for n in range(12))]
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    core.train_from_iterator(
        TEXTS,
        trainers.BpeTrainer(
            vocab_size=320,
            special_tokens=special,
            initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
            show_progress=False,
        ),
    )
    return PreTrainedTokenizerFast(tokenizer_object=core, extra_special_tokens=special[4:], **ROLES)
