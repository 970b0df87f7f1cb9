"""What a vertical study asks of a site, in sentences: what runs there, what leaves, who sees it."""

from fedward_shared.privacy import accountant
from fedward_shared.vertical.charter import VerticalCharter
from fedward_shared.vertical.terms import OnceTerms, VerticalTerms


def paragraphs(charter: VerticalCharter, site: str) -> list[tuple[str, str]]:
    """Title and text of each."""
    if all(party.name != site for party in charter.participants):
        return []
    return [
        ("Alignment", _alignment(charter, site)),
        ("Columns", _columns(charter, site)),
        ("What runs", _what_runs(charter, site)),
        ("What leaves", _what_leaves(charter, site)),
        ("Predictions", _predictions(charter, site)),
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
        f"{terms.most:,} can be shown. With fewer than {terms.least:,} in common a training ends; a "
        "prediction does not"
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


def _predictions(charter: VerticalCharter, site: str) -> str:
    terms, asker = charter.vertical, charter.vertical.active
    if not terms.predictions:
        return "None: after the training nobody is asked about anybody"
    many = f"{terms.predictions:,} times after the training"
    if site == asker:
        return (
            f"{many}, people here may ask about up to {terms.alignment.most:,} people each time. "
            f"{', '.join(terms.peers)} then learns which of its records are asked about, of those that "
            "all parties have, which is NOT covered by ε; no column and no label leaves"
        )
    return (
        f"{many}, {asker} may ask about up to {terms.alignment.most:,} people, or about one. It learns "
        "of each whether they are here, which is NOT covered by ε, and of those whom all parties have "
        f"{_answer(terms)}. Who is asked about again is answered for anew"
    )


def _answer(terms: VerticalTerms) -> str:
    """What is said of each record, and what that costs."""
    privacy = terms.privacy
    if privacy is None:
        return "the embedding of their record here WITHOUT NOISE, from which it can be recovered"
    each = f"each time at ε = {accountant.epsilon([privacy.answer], privacy.delta):.3f}"
    if isinstance(privacy, OnceTerms):
        cells = privacy.scores
        return (
            f"in which of {cells.choices} classes their score here is, as an answer that is another one "
            f"with probability {1 - cells.truth:.3f}, {each}"
        )
    return f"the embedding of their record here, clipped and noised, {each}"


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
