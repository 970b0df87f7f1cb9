"""Whose a document or picture is: the unit that its file names, or else what nobody else shares."""

import hashlib

from fedward_client.preparation.documents import Document, Picture
from fedward_shared.records import normalised

WHOLE = ("pdf", "plain", "dicom", "video")
"""Readers whose files are one owner's where nobody is named: what they find are parts of one thing."""


def of(document: Document | Picture) -> tuple[str, bool]:
    """The owner's name among the site's records, and whether the file says who it is.

    Where it does not, the pages of a PDF count as one owner's, and each record of a table as somebody
    else's: no other document is held for a duplicate of it.
    """
    unit = document.fields.get("unit", "")
    if normalised(unit):
        return unit, True
    about = document.provenance
    whole = about.reader.partition("/")[0] in WHOLE
    what = about.file if whole else f"{about.file}\0{about.place}"
    return f"nobody {hashlib.sha256(what.encode()).hexdigest()}", False
