"""What can be chosen, by the names that schemas and the command line use. Nothing is loaded for it."""

from typing import Literal

Segmentation = Literal["unicode", "jieba"]
Overlap = Literal["forbidden", "nested", "allowed"]
Scheme = Literal["bio", "bilou"]
Readable = Literal["jsonl", "label-studio", "brat", "records"]
Writable = Literal["jsonl", "label-studio", "brat", "records", "bio", "bilou"]
