"""Annotated texts that several tests share."""

from hypothesis import strategies as st

from fedward_shared.annotation.documents import Document, Entity, Relation

PUBLISHED = '{"text": "患者主诉持续性胸痛3小时", "entities": [{"start": 6, "end": 9, "label": "症状", "attributes": {"duration": "3小时"}}]}'  # noqa: E501
"""As it has been printed, off by one: [6, 9) is 性胸痛, and 胸痛 begins at 7."""

CHARACTERS = st.sampled_from("ab \n\r\té胸痛👩\u200d🚀,.3")
NAMES = st.sampled_from(["症状", "drug", "B-x", "duration"])


@st.composite
def documents(draw: st.DrawFn) -> Document:
    """Any entities of any text, overlapping ones too, each with what stands there."""
    text = draw(st.text(CHARACTERS, min_size=1, max_size=30))
    entities = []
    for _ in range(draw(st.integers(0, 5))):
        start = draw(st.integers(0, len(text) - 1))
        end = draw(st.integers(start + 1, len(text)))
        values = st.text("ab 胸🚀", min_size=1, max_size=5)
        attributes = draw(st.dictionaries(NAMES, values, max_size=2))
        entities.append(Entity(start=start, end=end, label=draw(NAMES), attributes=attributes))
    ends = st.integers(0, max(0, len(entities) - 1))
    relations = [
        Relation(label=draw(NAMES), head=draw(ends), tail=draw(ends))
        for _ in range(draw(st.integers(0, 3)) if entities else 0)
    ]
    found = Document(text=text, entities=tuple(entities), relations=tuple(relations))
    return found.located()
