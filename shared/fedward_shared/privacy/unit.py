"""The privacy unit: what one more or one less of makes two datasets neighbours."""

from typing import Literal, get_args

Unit = Literal["record", "patient", "customer"]
"""What is protected: a record, or everything that a patient or customer has in the dataset."""
UNITS: tuple[Unit, ...] = get_args(Unit)
