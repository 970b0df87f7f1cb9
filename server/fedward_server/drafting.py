"""From a coordinator's draft to the signed charter that sites get.

`draft` writes `charter.toml`, with comments, and `study.toml`; people edit both. `sign` makes the
tensors that the study starts from, has the charter name them and the base model by digest, and signs it.
"""

import json
from pathlib import Path

from fedward_server import bounds
from fedward_server.studies import STUDY_FILE, RoundsSettings, StartSettings, read_settings
from fedward_shared import adapters, base_models, pretrained, records, tasks, tensors
from fedward_shared import charter as charters
from fedward_shared.agreement import DRAFT_FILE
from fedward_shared.charter import Charter
from fedward_shared.charter_terms import AdapterTerms, Participant, TaskKind, TaskTerms
from fedward_shared.errors import UsageError
from fedward_shared.files import write_atomically
from fedward_shared.identity import SigningKey
from fedward_shared.masked import MaskedTerms
from fedward_shared.names import part_of
from fedward_shared.privacy import accountant
from fedward_shared.secagg.graph import degree_for
from fedward_shared.secagg.ring import ring_for
from fedward_shared.tasks.classification import TextClassifier
from fedward_shared.tasks.headed import HeadedModel

RESERVE_ROUNDS = 1

CHARTER = """\
# The draft of a charter. Edit it, then `fedward study sign`. What is signed is what sites approve;
# these comments are not part of it.
version = 1
study = {study}
purpose = ""             # what the result is for, in a sentence that an ethics board understands
use = "research"         # the same in one word; sites allow datasets for uses
legal_basis = ""         # for example: GDPR Art. 9(2)(j), vote 2026-117 of the ethics board
expires = {expires}     # the study may run until the end of this day, UTC
dataset = "records"      # what sites call their data
# base_model and initial are filled in when the draft is signed.

[coordinator]
name = {coordinator}
key = {key}

[task]
kind = {task}
labels = {labels}
max_tokens = 64

[adapter]
method = "lora-xs"       # others: docs/explanation/methods.md
rank = 32
alpha = 64.0
target_modules = {modules}
layers = [{layer}]

[privacy]                # for each site and the whole study
unit = "record"          # or patient, customer: all records of one, by the owner column of the dataset
# records_per_unit = 20  # of a patient's or customer's records at most so many enter a round
epsilon = {epsilon}
delta = {delta}
clipping_norm = 1.0
sampling_rate = {sampling_rate}
# For {rounds} rounds of {steps} steps, and {reserve} more for a site that loses one it has booked.
noise_multiplier = {noise}
# bands = 5              # correlated noise; `fedward plan` says where it helps, and with which σ
# adaptive_clipping = {{ quantile = 0.5 }}   # the norm follows the gradients, for 0.5 % more noise

[training]
rounds = {rounds}
local_steps = {steps}
head_rounds = {head_rounds}
learning_rate = 8.0
head_learning_rate = 20.0

[aggregation]
server_optimizer = "fedavgm"
server_momentum = 0.6
minimum_cohort = {minimum_cohort}
round_deadline_seconds = 3600.0
# maximum_update_norm is derived when the draft is signed, unless it stands here.

# With masks you see the sum over minimum_cohort sites or more, and no update of one. That has to be more
# than half of participants and colluding sites together; a round with fewer survivors comes to nothing.
# [secure_aggregation]
# colluding = 1          # how many sites may work together with you
# precision = 12         # bits of a coordinate
# bound = 0.5            # what one is cut off at; derived from the training terms unless it stands here

# One for each site: the key that `fedward site key` shows there, compared by telephone, and the declared
# number of records, or of patients or customers if these are the unit, which is public.
{participants}"""

PARTICIPANT = """\
[[participants]]
name = {name}
key = {key}
records = {records}
"""

STUDY = """\
# What concerns the coordinator alone; paths are relative to this folder.
base_model = {base_model}
key = {key}
# evaluation = "evaluation.jsonl"   # public records to score each round on

[start]                  # how the tensors that the study starts from are made
# public = "public.jsonl"           # text that belongs to nobody: feature statistics and directions
aimed = false            # directions of the adapters from the public text, not at random
name_length = 0.0        # above 0: the head starts at the names of the labels (of texts)
seed = 0
"""


def draft(
    folder: Path,
    study: str,
    coordinator: str,
    key: Path,
    base_model: Path,
    task: TaskKind,
    labels: list[str],
    participants: list[Participant],
    epsilon: float,
    delta: float,
    rounds: int,
    local_steps: int,
    sampling_rate: float,
    expires: str,
) -> float:
    """Writes both files and returns the noise multiplier; never over what is there.

    Raises UsageError, or PrivacyError for an ε that no noise gives. `task` is one with labels.
    """
    for name in (DRAFT_FILE, STUDY_FILE):
        if (folder / name).exists():
            raise UsageError(f"{folder / name}: is there already and was left as it is")
    steps = (rounds + RESERVE_ROUNDS) * local_steps
    noise = accountant.noise_for(sampling_rate, steps, epsilon, delta)
    text = CHARTER.format(
        study=_quoted(study),
        expires=expires,
        coordinator=_quoted(coordinator),
        key=_quoted(SigningKey.load(key).public.text),
        task=_quoted(task),
        labels=json.dumps(labels, ensure_ascii=False),
        modules=json.dumps(pretrained.attention(base_model)),
        layer=pretrained.depth(base_model) - 1,
        epsilon=float(epsilon),
        delta=delta,
        sampling_rate=sampling_rate,
        rounds=rounds,
        steps=local_steps,
        reserve=RESERVE_ROUNDS,
        head_rounds=2 * rounds // 3,
        noise=noise,
        minimum_cohort=max(1, min(2, len(participants))),
        participants="\n".join(
            PARTICIPANT.format(name=_quoted(p.name), key=_quoted(p.key), records=p.records)
            for p in participants
        ),
    )
    write_atomically(folder / DRAFT_FILE, text.encode())
    settings = STUDY.format(
        base_model=_quoted(str(base_model.resolve())), key=_quoted(str(key.resolve()))
    )
    write_atomically(folder / STUDY_FILE, settings.encode())
    return noise


def sign(folder: Path) -> Charter:
    """Signs the draft in `folder`. Raises FedwardError; then nothing is written."""
    settings = read_settings(folder, RoundsSettings)
    path = folder / DRAFT_FILE
    terms = charters.read_draft(
        path,
        base_model={"digest": base_models.digest(settings.base_model)},
        initial=tensors.digest({}),  # a place-holder until they can be made from the terms
    )
    start = settings.start
    public = records.read(start.public, ("text",), {})["text"] if start.public else None
    initial = initial_tensors(settings.base_model, terms.task, terms.adapter, start, public)
    charter = bounded(terms, initial).model_copy(update={"initial": tensors.digest(initial)})
    if charter.secure_aggregation is not None:
        check_masks(charter, initial)
    charters.save(folder, charter, initial, SigningKey.load(settings.key))
    return charter


def check_masks(charter: Charter, initial: tensors.Tensors) -> None:
    """Raises PrivacyError if noise that the sites make together does not fit into a round's integers."""
    schema = tensors.schema_of(initial)
    for number in {1, charter.training.rounds}:
        sent = charter.sent(schema, charter.participants[0].name, number)
        _ = MaskedTerms(charter, number, sent).noise


def bounded(terms: Charter, initial: tensors.Tensors) -> Charter:
    """The same terms, with the bound of an update's norm that follows from them if they name none."""
    bound = bounds.update_norm(terms, tensors.schema_of(initial))
    if bound is None or "maximum_update_norm" in terms.aggregation.model_fields_set:
        return terms
    aggregation = terms.aggregation.model_copy(update={"maximum_update_norm": bound})
    return terms.model_copy(update={"aggregation": aggregation})


def masks_in_words(charter: Charter) -> list[str]:
    """What follows from a charter's terms for its masks; nothing where it has none."""
    masks, minimum = charter.secure_aggregation, charter.aggregation.minimum_cohort
    if masks is None:
        return []
    count = len(charter.participants)
    ring = ring_for(charter.total_weight, masks.precision)
    degree = degree_for(count, minimum, masks.colluding).degree
    said = [
        f"masked: sums over {minimum} of {count} sites or more, {masks.colluding} of which may work "
        f"with you; {degree} neighbours a site; {masks.precision} bits a coordinate, {ring.bits} as it "
        "is sent"
    ]
    last_of_head = charter.training.head_rounds
    for number in [1, last_of_head + 1] if 0 < last_of_head < charter.training.rounds else [1]:
        head, adapter = charter.coordinate_bounds(number)
        said.append(
            f"from round {number} on, coordinates are cut off at ±{head:.3g} (head) and ±{adapter:.3g} "
            "(adapters)"
        )
    return said


def initial_tensors(
    base_model: Path,
    task: TaskTerms,
    adapter: AdapterTerms,
    start: StartSettings,
    public: list[str] | None,
) -> tensors.Tensors:
    """What a study starts from: fixed directions, feature statistics, and where head and adapters begin.

    Everything that is not random comes from `public` text and the labels' names.
    """
    model = tasks.build(base_model, task, adapter)
    model.load(adapters.initial(model.body, start.seed), "initial adapter")
    if start.name_length and task.kind == "token-classification":
        raise UsageError(
            f"{STUDY_FILE}: start.name_length: tags of tokens have no names to start at; leave it out"
        )
    if isinstance(model, HeadedModel) and public is not None:
        examples = model.prepare(model.unlabelled(public))
        model.measure(examples)
        if start.aimed:
            model.aim(examples)
        if start.name_length and isinstance(model, TextClassifier):
            model.start_at_names(start.name_length)
    return {n: t.detach() for n, t in model.named_tensors().items() if part_of(n) != "moved"}


def _quoted(text: str) -> str:
    """A TOML string; JSON's quoting is TOML's, too."""
    return json.dumps(text, ensure_ascii=False)
