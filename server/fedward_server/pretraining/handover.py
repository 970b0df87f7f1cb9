"""The hand-over: a trained model as a folder that a charter can name.

model*.safetensors, config.json     transformers' own; adapters are trained on top of them
tokenizer.json, …                   the tokenizer that it was trained with
README.md                           the model card: of what texts, how, how well, what the doctor did
manifest.json                       the SHA-256 of each file, and the digest that a charter names
"""

import json
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from fedward_server.pretraining.configuration import Pretraining
from fedward_server.pretraining.corpus.store import Manifest
from fedward_server.pretraining.monitoring.diary import Record
from fedward_server.pretraining.monitoring.figures import perplexity
from fedward_shared import base_models, canonical
from fedward_shared.errors import StateError, UsageError
from fedward_shared.files import write_atomically

MANIFEST = "manifest.json"
CARD = "README.md"
FORMAT = "fedward/base-model/1"


def write(
    model: Any,
    tokenizer: Any,
    out: Path,
    terms: Pretraining,
    corpus: Manifest,
    record: Record,
    step: int,
) -> str:
    """Writes the folder `out`, wholly or not at all, and returns the digest that a charter names.

    Raises UsageError if it is there already, StateError if it cannot be written.
    """
    if out.exists():
        raise UsageError(
            f"{out}: is there already; a model is never overwritten, name another folder"
        )
    out.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}."))
    try:
        model.save_pretrained(draft, safe_serialization=True)
        tokenizer.save_pretrained(draft)
        digest = base_models.digest(draft)
        facts = _facts(model, terms, corpus, record, step, digest)
        write_atomically(draft / CARD, card(facts).encode())
        manifest = {
            "format": FORMAT,
            "digest": digest,
            "step": step,
            "corpus": corpus.digest,
            "files": {
                path.name: canonical.DIGEST_PREFIX + base_models.file_digest(path)
                for path in sorted(draft.iterdir())
            },
        }
        text = json.dumps(manifest, indent=2, ensure_ascii=False) + "\n"
        write_atomically(draft / MANIFEST, text.encode())
        draft.chmod(0o755)
        draft.rename(out)
    except OSError as error:
        raise StateError(f"{out}: cannot be written: {error.strerror}") from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return digest


def card(facts: Mapping[str, Any]) -> str:
    """The model card, in Markdown, of what `_facts` gathers."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=select_autoescape(),
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    return environment.get_template("card.md.j2").render(facts)


def _facts(
    model: Any, terms: Pretraining, corpus: Manifest, record: Record, step: int, digest: str
) -> dict[str, Any]:
    steps = [report for report in record.steps if report.step < step]
    evaluations = [report for report in record.evaluations if report.step <= step]
    shares = {source.name: source.weight for source in terms.sources if not source.evaluation}
    total = sum(shares.values())
    return {
        "digest": digest,
        "architecture": terms.model,
        "class_name": type(model).__name__,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "objective": terms.model.objective,
        "steps": step,
        "planned": terms.schedule.steps,
        "schedule": terms.schedule,
        "seed": terms.seed,
        "tokens": sum(report.tokens for report in steps),
        "loss": steps[-1].loss if steps else None,
        "sources": corpus.sources,
        "shares": {name: share / total for name, share in shares.items()},
        "vocabulary": corpus.vocabulary,
        "evaluation": evaluations[-1] if evaluations else None,
        "perplexity": perplexity,
        "treatments": record.treatments,
    }
