"""Task kinds: what a model is asked, how records become batches, how it is scored.

Both sides hold them: sites train with them, the coordinator evaluates with them.
"""

from pathlib import Path

from fedward_shared.charter_terms import AdapterTerms, TaskTerms
from fedward_shared.tasks.base import StudyModel
from fedward_shared.tasks.causal_lm import CausalLanguageModel
from fedward_shared.tasks.classification import TextClassifier
from fedward_shared.tasks.tagging import TokenClassifier

KINDS: dict[str, type[TextClassifier] | type[TokenClassifier] | type[CausalLanguageModel]] = {
    "text-classification": TextClassifier,
    "token-classification": TokenClassifier,
    "causal-lm": CausalLanguageModel,
}


def build(base_model: Path, task: TaskTerms, adapter: AdapterTerms) -> StudyModel:
    """The model of a study: base model, adapter and head, as its terms say."""
    return KINDS[task.kind](base_model, task, adapter)


__all__ = ["KINDS", "StudyModel", "build"]
