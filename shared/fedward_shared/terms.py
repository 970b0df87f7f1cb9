"""What charters, settings and signed statements are made of: names, digests, strict sections.

Nothing heavy is loaded for it: most commands of an institution read settings and compute nothing.
"""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

DIGEST_PATTERN = r"^sha256:[0-9a-f]{64}$"
Digest = Annotated[str, Field(pattern=DIGEST_PATTERN)]
Hexadecimal = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")]


class Terms(BaseModel):
    """A section of a charter: nothing may be added to it, and nothing changes once it is read."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=False)


def describe(error: ValidationError) -> str:
    """One line that names every field a pydantic model refused, and why."""
    return "; ".join(
        f"{'.'.join(str(part) for part in item['loc']) or 'file'}: {item['msg']}"
        for item in error.errors(include_url=False, include_input=False)
    )
