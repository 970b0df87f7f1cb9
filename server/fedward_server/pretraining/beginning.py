"""`fedward pretrain init`: a configuration that says all that may be said, for a person to fill in."""

from pathlib import Path

from fedward_server.pretraining.presets import TINY_VOCABULARY, preset
from fedward_shared.errors import UsageError
from fedward_shared.files import write_atomically

TEXT = """\
# A training of a base model. Paths are from this file's folder on. `fedward pretrain FILE` begins it,
# and goes on with it; --dry-run tells what it would take.

preset = "{name}"
seed = 0
# initial = "model"          # goes on from a model of these sizes; [tokenizer] folder is then its folder

# [model] changes sizes of the preset: hidden, layers, heads, intermediate, context, ...

[tokenizer]
merges = {merges}
languages = ["en", "zh"]     # each gets a tag, [EN]
# folder = "old-tokenizer"   # extends that one instead of training one

[[sources]]                  # as many as you have
name = "texts"
paths = []                   # files, or patterns like "wiki/**/*.jsonl.gz"
format = "jsonl"             # jsonl, parquet, lines or text
field = "text"
language = "en"
weight = 1.0
# other_field = "zh"         # the same in another language: a parallel text
# other_language = "zh"
# evaluation = true          # never trained on, and nothing that has a passage of it

# [[augmentation]]           # words of one language switched to another, by a lexicon
# lexicon = "en-zh.tsv"
# language = "en"
# share = 0.2

[filters]
duplicates = 0.85            # Jaccard similarity from which on documents are alike

[schedule]
steps = {steps}
batch = {batch}              # rows of a step, whatever the workers
rate = {rate}
warm_up = {warm_up}
save_every = {often}
evaluate_every = {often}

[parallel]
strategy = "fsdp2"           # or ddp, deepspeed; of one process none
precision = "{precision}"

[monitoring]
# prometheus_port = 9109
# tensorboard = true
"""


def write(name: str, path: Path) -> None:
    """Writes a configuration with the preset `name`. Raises UsageError for another's name or file."""
    tiny = preset(name).vocabulary == TINY_VOCABULARY
    if path.exists():
        raise UsageError(f"{path}: is there already; name another file")
    sizes: dict[str, object]
    if tiny:
        sizes = {
            "merges": 2_000,
            "steps": 300,
            "batch": 16,
            "rate": 0.003,
            "warm_up": 20,
            "often": 100,
        }
    else:
        sizes = {
            "merges": 100_000,
            "steps": 100_000,
            "batch": 2_048,
            "rate": 1e-4,
            "warm_up": 2_000,
        }
        sizes["often"] = 500
    precision = "fp32" if tiny else "bf16"
    write_atomically(path, TEXT.format(name=name, precision=precision, **sizes).encode())
