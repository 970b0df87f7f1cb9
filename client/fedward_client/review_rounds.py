"""What a study of rounds asks of a site, in sentences: what runs there, what leaves, who sees it."""

from fedward_shared.charter import Charter


def paragraphs(charter: Charter, site: str) -> list[tuple[str, str]]:
    """Title and text of each."""
    return [
        ("Rounds", f"{charter.training.rounds}, each begun by the coordinator"),
        ("What runs", _what_runs(charter, site)),
        ("What leaves", _what_leaves(charter)),
        ("Who sees it", _who_sees_it(charter)),
    ]


def _what_runs(charter: Charter, site: str) -> str:
    steps = charter.training.local_steps
    known = any(party.name == site for party in charter.participants)
    terms = charter.adapter_at(site) if known else charter.adapter
    place = f"layers {', '.join(map(str, terms.layers))}"
    match terms.method:
        case "head-only":
            what = "the classification head alone"
        case "prefix-tuning":
            what = f"{terms.rank} trained positions before the text, in {place}"
        case _:
            modules = ", ".join(terms.target_modules)
            what = f"adapters ({terms.method}, rank {terms.rank}) on {modules} of {place}"
    return (
        f"The packages installed here, and no code of the coordinator: {_learnt(charter)} with "
        f"{what}; "
        f"{steps} steps a round above the base model {charter.base_model.digest[:19]}…"
    )


def _learnt(charter: Charter) -> str:
    labels = ", ".join(charter.task.labels)
    match charter.task.kind:
        case "text-classification":
            return f"text-classification, which gives a text one of the labels {labels},"
        case "token-classification":
            return f"token-classification, which finds in a text the entities {labels},"
        case "causal-lm":
            return "causal-lm, which continues a prompt,"


def _noise(charter: Charter) -> str:
    privacy = charter.privacy
    if privacy.mechanism != "dp-sgd":
        return "WITHOUT NOISE"
    if charter.distributed_noise:
        return _shared_noise(charter)
    noise = (
        f"with Gaussian noise of {charter.plan(charter.participants[0].name).gradient_noise:g} × "
    )
    if privacy.adaptive is None:
        return f"{noise}the clipping norm {privacy.clipping_norm:g} in every step"
    return (
        f"{noise}the clipping norm in every step, which begins at {privacy.clipping_norm:g} and moves "
        f"by noisy counts of who is clipped; with these σ = {privacy.noise_multiplier:g} is booked"
    )


def _shared_noise(charter: Charter) -> str:
    masks, minimum = charter.secure_aggregation, charter.aggregation.minimum_cohort
    assert masks is not None
    others = minimum - masks.colluding - 1
    return (
        f"with this site's share of the noise: the sum of a round has Gaussian noise of "
        f"{charter.privacy.noise_multiplier:g} × the clipping norm {charter.privacy.clipping_norm:g} if "
        f"{others} of the other sites in it add their share and keep it to themselves; the ε below "
        "holds only then"
    )


def _what_leaves(charter: Charter) -> str:
    masked = ", under masks" if charter.secure_aggregation else ""
    return (
        f"Each round, to {charter.coordinator.name}: the change of the trained tensors "
        f"{_noise(charter)}{masked}, the ε spent, and this site's name. Or a fixed word, when the site "
        "refuses. No record, no count, no metric"
    )


def _who_sees_it(charter: Charter) -> str:
    masks, coordinator = charter.secure_aggregation, charter.coordinator.name
    if masks is None:
        return f"{coordinator} sees this site's change of the tensors by itself: it is not masked"
    minimum, others = charter.aggregation.minimum_cohort, len(charter.participants) - 1
    return (
        f"Masked: {coordinator} gets the sum over {minimum} sites or more and cannot see this site's "
        f"part, even if {masks.colluding} of the {others} others work together with it; of fewer sites "
        "it learns nothing. The keys of the masks are the sites' own, signed, and made for each round. "
        f"Numbers are rounded to {masks.precision} bits"
    )
