"""Texts with planted identifiers, and how many of them the site's rules find."""

from collections import Counter

from fedward_client.preparation.identifiers import scrub
from fedward_client.preparation.identifiers.spans import Kind
from fedward_simulations.data import planted, planted_templates
from fedward_simulations.data.planted import Planted


def test_the_same_seed_makes_the_same_texts() -> None:
    first = list(planted.texts(held_out=True, copies=2, seed=1))
    assert first == list(planted.texts(held_out=True, copies=2, seed=1))
    assert first != list(planted.texts(held_out=True, copies=2, seed=2))


def test_a_patient_stands_where_the_text_says() -> None:
    for text in planted.texts(held_out=False, copies=2, seed=1):
        last, _ = text.patient[0].split("^")
        names = [text.text[p.start : p.end] for p in text.planted if p.kind is Kind.NAME]
        assert any(last.lower() in name.lower() for name in names)
        assert all(text.text[p.start : p.end].strip() for p in text.planted)


def test_the_halves_share_no_template() -> None:
    both = [t.text for t in (*planted_templates.DEVELOPMENT, *planted_templates.HELD_OUT)]
    assert len(set(both)) == len(both)


def test_structured_identifiers_of_the_held_out_half_are_found() -> None:
    """Two in a hundred may stay; of names the benchmark says how many do."""
    total, found = Counter[Kind](), Counter[Kind]()
    for text in planted.texts(held_out=True, copies=5, seed=3):
        spans = scrub.find(text.text)
        covered = {place for span in spans for place in range(span.start, span.end)}

        def whole(value: Planted, covered: set[int] = covered, text: str = text.text) -> bool:
            places = range(value.start, value.end)
            return all(place in covered for place in places if text[place].isalnum())

        total.update(value.kind for value in text.planted)
        found.update(value.kind for value in text.planted if whole(value))
    structured = set(total) - {Kind.NAME, Kind.PLACE}
    assert {kind for kind in structured if found[kind] < 0.98 * total[kind]} == set()
