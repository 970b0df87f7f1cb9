"""What a study of duplicates asks of a site, in sentences: what is compared, what that tells whom."""

from fedward_shared.duplicates.charter import DuplicatesCharter
from fedward_shared.text import BANDS, ROWS


def paragraphs(charter: DuplicatesCharter, site: str) -> list[tuple[str, str]]:
    """Title and text of each."""
    if all(party.name != site for party in charter.participants):
        return []
    return [
        ("Comparison", _comparison(charter)),
        ("What it tells", _what_it_tells(charter, site)),
        ("Guessing", _guessing(charter)),
        ("What runs", "The packages installed here, and no code of the coordinator"),
        ("What leaves", _what_leaves(charter, site)),
        ("Who sees it", _who_sees_it(charter)),
    ]


def _comparison(charter: DuplicatesCharter) -> str:
    terms = charter.duplicates
    return (
        f"Each document ({', '.join(terms.columns)}) of {terms.shortest} shingles or more becomes "
        f"{BANDS} keys of {ROWS} MinHash numbers each. Two documents that are nearly equal have keys in "
        f"common; from {terms.least} on this site is told of its own. The keys are compared as points "
        "of a curve that only two sites together can make, and no text is shown"
    )


def _what_it_tells(charter: DuplicatesCharter, site: str) -> str:
    terms, peers = charter.duplicates, ", ".join(charter.peers(site))
    return (
        f"NOT covered by ε, and not noised: of {peers} each learns which of its own documents are "
        "nearly one of this site's, in how many keys, and so about how alike they are; and how many "
        f"documents are here, to the next {terms.step:,}. A record here is thereby known to exist, by "
        "whoever has one like it. This site learns as much of them"
    )


def _guessing(charter: DuplicatesCharter) -> str:
    terms = charter.duplicates
    return (
        f"A site that shows made-up documents learns whether something like them is here. Each may show "
        f"{terms.most:,} documents in a session, as {terms.most_keys:,} keys, each of which may be a "
        f"guess of its own. There are {terms.sessions:,} sessions, which this site's own ledger counts"
    )


def _what_leaves(charter: DuplicatesCharter, site: str) -> str:
    terms = charter.duplicates
    return (
        f"To {', '.join(charter.peers(site))}: a point for each key here, among as many that are "
        f"nobody's as make up the next {terms.step:,} documents, in an order that tells nothing; and "
        "their own points back"
    )


def _who_sees_it(charter: DuplicatesCharter) -> str:
    return (
        f"Which documents are alike each site keeps to itself. {charter.coordinator.name} hands on "
        "sealed envelopes and cannot open them; it sees their sizes, when they pass, that this site has "
        "done its part, and its total ε"
    )
