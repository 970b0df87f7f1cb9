"""The names of a study's tensors, and which of them train and so cross between the parties.

Known without the model: a site's trusted side holds an update against the charter by these names and
loads no model for it.
"""

from collections.abc import Iterable

A_MARK = ".lora_A."
B_MARK = ".lora_B."
OUTPUTS = "outputs.weight"
HEAD_MARK = "head."
HEAD_TRAINED = ("head.weight", "head.bias")


def starts_at_zero(name: str) -> bool:
    """Whether the adapter's tensor `name` is the one that changes nothing until it is trained."""
    return B_MARK in name and not name.endswith(OUTPUTS)


def trains(name: str, method: str) -> bool:
    """Whether the tensor `name` trains under the adapter method."""
    if name.startswith(HEAD_MARK):
        return name in HEAD_TRAINED
    return starts_at_zero(name) or (method == "lora" and A_MARK in name)


def exchanged(names: Iterable[str], method: str) -> list[str]:
    """Those of `names` that a round sends in both directions."""
    return [name for name in names if trains(name, method)]
