"""What a vertical study asks of a site, in sentences: what runs there, what leaves, who sees it."""

from fedward_shared.vertical.charter import VerticalCharter
from fedward_shared.vertical.terms import OnceTerms


def paragraphs(charter: VerticalCharter, site: str) -> list[tuple[str, str]]:
    """Title and text of each."""
    if all(party.name != site for party in charter.participants):
        return []
    return [
        ("Alignment", _alignment(charter, site)),
        ("Columns", _columns(charter, site)),
        ("What runs", _what_runs(charter, site)),
        ("What leaves", _what_leaves(charter, site)),
        ("Who sees it", _who_sees_it(charter, site)),
    ]


def _alignment(charter: VerticalCharter, site: str) -> str:
    terms, peers = charter.vertical.alignment, ", ".join(charter.peers(site))
    others = "" if site == charter.vertical.active else " and how many are common to all parties"
    return (
        f"NOT covered by ε: {peers} learns which of its own records are here too{others}, and how many "
        f"are here, to the next {terms.step:,}. Nobody else's records are shown, and none by name: "
        f"identifiers ({', '.join(terms.rules)}) are compared as points of a curve that only both "
        f"together can make. Whoever shows a made-up identifier learns whether it is here: at most "
        f"{terms.most:,} can be shown. With fewer than {terms.least:,} in common it ends"
    )


def _columns(charter: VerticalCharter, site: str) -> str:
    terms = charter.vertical
    own = ", ".join(terms.table_of(site).names)
    label = f", and the label {terms.label}" if site == terms.active else ""
    return f"Of this site: {own}{label}. Others bring theirs"


def _what_runs(charter: VerticalCharter, site: str) -> str:
    terms = charter.vertical
    what = (
        "the model over this site's columns and what the others say"
        if site == terms.active
        else "a model of this site's columns"
    )
    return (
        f"The packages installed here, and no code of the coordinator: the alignment, then {what}, "
        f"{terms.fitting.epochs} times through the records"
    )


def _what_leaves(charter: VerticalCharter, site: str) -> str:
    terms, active = charter.vertical, site == charter.vertical.active
    privacy, peers = terms.privacy, ", ".join(charter.peers(site))
    if privacy is None:
        what = "gradients" if active else "embeddings"
        return (
            f"To {peers}, for every batch: the {what} of each common record, WITHOUT NOISE. "
            "Records can be recovered from them"
        )
    if isinstance(privacy, OnceTerms):
        answers = privacy.labels(len(terms.classes)) if active else privacy.scores
        what = "its label" if active else f"in which of {answers.choices} classes its score is"
        return (
            f"To {peers}, once for each common record: {what}, as an answer that is another one with "
            f"probability {1 - answers.truth:.3f}"
        )
    what = "gradients" if active else "embeddings"
    return (
        f"To {peers}, for every batch: the {what} of each common record, clipped to "
        f"{privacy.clipping_norm:g}, with Gaussian noise of {privacy.noise_multiplier:g} times what one "
        "record can move"
    )


def _who_sees_it(charter: VerticalCharter, site: str) -> str:
    coordinator, peers = charter.coordinator.name, ", ".join(charter.peers(site))
    model = (
        "The model and its scores stay here"
        if site == charter.vertical.active
        else f"The model is {charter.vertical.active}'s; this site keeps its own half"
    )
    return (
        f"{peers}. {coordinator} hands on sealed envelopes and cannot open them; it sees their sizes, "
        f"when they pass, that this site has done its part, and its total ε. {model}"
    )
