"""Causal language modelling: only the completion is learnt, and its end with it."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from fedward_shared import tasks
from fedward_shared.charter_terms import AdapterTerms, TaskTerms
from fedward_shared.errors import CharterError, DataError
from fedward_shared.tasks.causal_lm import IGNORED, CausalLanguageModel

ADAPTER = AdapterTerms(method="lora", rank=2, target_modules=("q_proj",), layers=(1,))
COLUMNS = {"prompt": ["femur", "", "the heart of"], "completion": ["left", "acute heart", "a"]}


def build(folder: Path, max_tokens: int = 24) -> CausalLanguageModel:
    model = tasks.build(folder, TaskTerms(kind="causal-lm", max_tokens=max_tokens), ADAPTER)
    assert isinstance(model, CausalLanguageModel)
    return model


def test_the_prompt_is_no_target_and_the_end_is_one(tiny_llama_folder: Path) -> None:
    model = build(tiny_llama_folder)
    tokens, targets = model.tokenise(COLUMNS)
    end = model.tokenizer.eos_token_id
    prompts = ["femur", model.tokenizer.eos_token, "the heart of"]
    for ids, wanted, prompt, completion in zip(
        tokens, targets, prompts, COLUMNS["completion"], strict=True
    ):
        answer = [token for token in wanted if token != IGNORED]
        assert ids == [*ids[: -len(answer)], *answer]
        assert wanted == [IGNORED] * (len(ids) - len(answer)) + answer
        assert model.tokenizer.decode(ids[: -len(answer)]) == prompt
        assert model.tokenizer.decode(answer[:-1]) == completion
        assert answer[-1] == end


@pytest.mark.parametrize("max_tokens", [2, 3, 8])
def test_a_long_prompt_loses_its_beginning(tiny_llama_folder: Path, max_tokens: int) -> None:
    model = build(tiny_llama_folder, max_tokens)
    columns = {"prompt": ["abcdefghij" * 3], "completion": ["xy"]}
    (ids,), (wanted,) = model.tokenise(columns)
    assert len(ids) == len(wanted) == max_tokens
    answer = [token for token in wanted if token != IGNORED]
    whole = model.tokenizer("xy")["input_ids"] + [model.tokenizer.eos_token_id]
    assert answer == whole[: max_tokens - 1]
    question = ids[: -len(answer)]
    assert question == model.tokenizer(columns["prompt"][0])["input_ids"][-len(question) :]


def test_an_empty_completion_is_named(tiny_llama_folder: Path) -> None:
    with pytest.raises(DataError, match="completion: record 2 is empty"):
        build(tiny_llama_folder).prepare({"prompt": ["a", "b"], "completion": ["c", ""]})


def test_a_head_alone_is_refused(tiny_llama_folder: Path) -> None:
    with pytest.raises(CharterError, match=r"adapter\.method"):
        tasks.build(
            tiny_llama_folder, TaskTerms(kind="causal-lm"), AdapterTerms(method="head-only")
        )


def test_losses_are_those_of_an_independent_reckoning(tiny_llama_folder: Path) -> None:
    model = build(tiny_llama_folder)
    tokens, targets = model.tokenise(COLUMNS)
    each, every = [], []
    with torch.no_grad():
        for ids, wanted in zip(tokens, targets, strict=True):
            logs = F.log_softmax(model.body(torch.tensor([ids])).logits[0].double(), dim=-1)
            losses = [-float(logs[i - 1, t]) for i, t in enumerate(wanted) if t != IGNORED]
            each.append(sum(losses) / len(losses))
            every += losses
        examples = model.prepare(COLUMNS)
        ours = model(examples.batch(np.arange(3))).tolist()
    assert ours == pytest.approx(each, rel=1e-5)
    loss = sum(every) / len(every)
    assert model.evaluate(examples) == {
        "loss": pytest.approx(loss, rel=1e-5),
        "perplexity": pytest.approx(math.exp(loss), rel=1e-4),
    }


def test_a_completion_is_the_most_likely_one(tiny_llama_folder: Path) -> None:
    model = build(tiny_llama_folder)
    ids = model.tokenizer("the heart")["input_ids"]
    with torch.no_grad():
        for _ in range(4):
            ids = [*ids, int(model.body(torch.tensor([ids])).logits[0, -1].argmax())]
    start = len(model.tokenizer("the heart")["input_ids"])
    expected = model.tokenizer.decode(ids[start:], skip_special_tokens=True)
    assert model.complete("the heart", 4) == expected
