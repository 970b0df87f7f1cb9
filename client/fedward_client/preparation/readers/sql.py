"""Databases: a file `NAME.sql.toml` says where one is, and what is read of it.

    url = "postgresql+psycopg://reader:secret@ward-db/omop"  # as SQLAlchemy has it; a relative name of
                        # a SQLite database is one beside this file
    omop = true         # NOTE and CONDITION_OCCURRENCE of the OMOP CDM, in `schema` if that is given
    query = "SELECT …"  # or this: a column text, and unit, date, code, label, kind as there are

Whoever may write that file says what this site connects to: it is read only if it belongs to the user
who reads and is open to nobody else. A query should sort its records: their order is the database's.
"""

import os
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedward_client.preparation.documents import FIELDS, Found, Origin
from fedward_client.preparation.readers import bounded
from fedward_shared.errors import Unreadable

if TYPE_CHECKING:
    from sqlalchemy import URL, Executable

NAME, VERSION = "sql", 2
ENDINGS: tuple[str, ...] = (".sql.toml",)
BATCH = 256
SETTINGS: Mapping[str, type] = {"url": str, "omop": bool, "schema": str, "query": str}
OTHERS = 0o077


def takes(head: bytes, /) -> bool:  # noqa: ARG001
    """Its ending says it."""
    return False


def read(path: Path, origin: Origin) -> Iterator[Found]:
    """Record by record."""
    settings = _settings(path)
    import sqlalchemy as sa

    try:
        engine = sa.create_engine(_located(sa.make_url(settings["url"]), path.parent))
    except sa.exc.ArgumentError:
        raise Unreadable("its url is none that SQLAlchemy knows") from None
    streamed = {"stream_results": True, "yield_per": BATCH}
    with engine.connect().execution_options(**streamed) as connection:
        for name, statement in _statements(settings).items():
            try:
                rows = connection.execute(statement)
                if "text" not in rows.keys():  # noqa: SIM118 - a result is no mapping
                    raise Unreadable(f"{name}: no column is called text")
                for number, row in enumerate(rows.mappings(), start=1):
                    yield from _document(f"{name}, record {number}", dict(row), origin)
            except sa.exc.SQLAlchemyError as error:
                raise Unreadable(f"{name}: the database says {type(error).__name__}") from None


def _located(url: "URL", folder: Path) -> "URL":
    """A database of SQLite by a relative name lies where its settings do: the process that reads is
    nowhere."""
    name = url.database
    if url.get_backend_name() != "sqlite" or not name or name.startswith((":", "file:")):
        return url
    return url.set(database=str(folder / name))


def _settings(path: Path) -> dict[str, Any]:
    found = path.stat()
    if found.st_uid != os.getuid() or found.st_mode & OTHERS:
        raise Unreadable("others may read or write it: chown it to who reads, and chmod 600")
    try:
        settings = tomllib.loads(bounded.whole(path).decode())
    except ValueError:
        raise Unreadable("no TOML") from None
    for name, value in settings.items():
        if not isinstance(value, SETTINGS.get(name, ())):
            raise Unreadable(f"{name!r} is no setting of a database, or of another type")
    if "url" not in settings or bool(settings.get("omop")) == ("query" in settings):
        raise Unreadable("needs a url, and either omop = true or a query")
    return settings


def _statements(settings: Mapping[str, Any]) -> dict[str, "Executable"]:
    import sqlalchemy as sa

    if "query" in settings:
        return {"query": sa.text(settings["query"])}

    def table(name: str, *columns: str) -> sa.TableClause:
        return sa.table(name, *map(sa.column, columns), schema=settings.get("schema"))

    note = table("note", "note_id", "person_id", "note_date", "note_title", "note_text")
    had = table(
        "condition_occurrence",
        *("condition_occurrence_id", "person_id", "condition_start_date", "condition_concept_id"),
    )
    concept = table("concept", "concept_id", "concept_name", "concept_code")
    of = had.outerjoin(concept, concept.c.concept_id == had.c.condition_concept_id)
    return {
        "NOTE": sa.select(
            note.c.note_text.label("text"),
            note.c.person_id.label("unit"),
            note.c.note_date.label("date"),
            note.c.note_title.label("kind"),
        ).order_by(note.c.note_id),
        "CONDITION_OCCURRENCE": sa.select(
            concept.c.concept_name.label("text"),
            had.c.person_id.label("unit"),
            had.c.condition_start_date.label("date"),
            concept.c.concept_code.label("code"),
        )
        .select_from(of)
        .order_by(had.c.condition_occurrence_id),
    }


def _document(place: str, row: Mapping[str, object], origin: Origin) -> Iterator[Found]:
    said = {name: "" if value is None else str(value) for name, value in row.items()}
    if said["text"].strip():
        fields = {name: value for name, value in said.items() if name in FIELDS}
        yield origin.document(place, said["text"], **fields)
    else:
        yield origin.remark(place, "no text")
