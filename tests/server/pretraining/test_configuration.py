"""A configuration says what it means, or why it cannot be."""

from pathlib import Path
from typing import Any

import pytest
from server.pretraining.trained import configuration

from fedward_server.pretraining.configuration import read
from fedward_server.pretraining.presets import PRESETS, preset
from fedward_shared.errors import UsageError


def test_a_preset_is_the_model_but_for_the_sizes_given(tmp_path: Path) -> None:
    terms = read(configuration(tmp_path))
    assert terms.model == preset("tiny-llama").model.model_copy(
        update={"hidden": 32, "heads": 2, "kv_heads": 1, "intermediate": 64, "context": 32}
    )
    assert terms.schedule.clipping == 1.0
    assert terms.schedule.weight_decay == 0.01
    assert [source.language for source in terms.sources] == ["en", "zh"]


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_can_be_named(name: str, tmp_path: Path) -> None:
    path = configuration(tmp_path)
    text = "\n".join(
        line for line in path.read_text("utf-8").splitlines() if not line.startswith("preset")
    )
    head, _, tail = text.partition("[model]")
    path.write_text(
        f'preset = "{name}"\n{head}[tokenizer]{tail.partition("[tokenizer]")[2]}', "utf-8"
    )
    assert read(path).model == preset(name).model


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"schedule": {"stepps": 3}}, r"schedule\.stepps: Extra inputs are not permitted"),
    ({"seeds": 3}, r"seeds: Extra inputs"),
    ({"preset": "tiny-lama"}, r"there is no tiny-lama; there are tiny-bert"),
    ({"model": {"window": 4}}, r"window: llama has none; .*mistral"),
    ({"schedule": {"steps": 0}}, r"schedule\.steps"),
    ({"parallel": {"strategy": "pipeline"}}, r"parallel\.strategy"),
    ({"sources": []}, r"sources: "),
    ({"doctor": {"slower": 2.0}}, r"doctor\.slower"),
]


@pytest.mark.parametrize(("changes", "said"), WRONG)
def test_what_cannot_be_is_refused_by_its_key(
    changes: dict[str, Any], said: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=said) as refused:
        read(configuration(tmp_path, **changes))
    assert str(refused.value).startswith(f"{tmp_path / 'tiny.toml'}: ")


def test_sources_of_one_name_or_for_evaluation_alone_are_refused(tmp_path: Path) -> None:
    source = {"name": "titles", "paths": ["titles.jsonl"], "format": "jsonl", "language": "en"}
    with pytest.raises(UsageError, match="two have the same name"):
        read(configuration(tmp_path, sources=[source, source]))
    with pytest.raises(UsageError, match="nothing is left to train on"):
        read(configuration(tmp_path, sources=[source | {"evaluation": True}]))


def test_a_file_that_is_none_or_no_toml_is_said_to_be(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no such file; `fedward pretrain init`"):
        read(tmp_path / "none.toml")
    (tmp_path / "broken.toml").write_bytes(b"\xff\xfe[")
    with pytest.raises(UsageError, match="cannot be read as TOML"):
        read(tmp_path / "broken.toml")
