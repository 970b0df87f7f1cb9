"""`fedward site annotation check`, `convert` and `agreement`: marked texts before they are a dataset."""

from pathlib import Path
from typing import Annotated

import typer

from fedward_shared.annotation.kinds import Readable, Segmentation, Writable

annotation = typer.Typer(
    help="Texts with marked entities: checked, converted, compared.", no_args_is_help=True
)

MOST_SHOWN = 1000

Words = Annotated[Segmentation, typer.Option(help="What is a word: jieba is for Chinese.")]


@annotation.command()
def check(
    file: Annotated[Path, typer.Argument(help="JSON lines: text, entities, relations.")],
    schema: Annotated[Path, typer.Option(help="TOML or JSON: labels, attributes, relations.")],
) -> None:
    """Says what is wrong with each entity, what stands there, and what would fit.

    Exit code 0 if nothing is wrong, 3 if something is or the file cannot be read, 11 if the schema wants
    a segmentation that is not installed.
    """
    from fedward_shared.annotation import check as checking
    from fedward_shared.annotation import documents
    from fedward_shared.annotation import schema as schemas
    from fedward_shared.errors import DataError

    terms, read = schemas.read(schema), documents.read(file)
    count = wrong = 0
    for number, document in enumerate(read, start=1):
        problems = checking.problems(document, terms)
        for problem in problems[: max(0, MOST_SHOWN - count)]:
            typer.echo(f"text {number}: {problem.sentence(document.text)}")
        count, wrong = count + len(problems), wrong + bool(problems)
    if count > MOST_SHOWN:
        typer.echo(f"and {count - MOST_SHOWN} more")
    if count:
        raise DataError(f"{file}: {count} problems in {wrong} of {len(read)} texts")
    typer.echo(
        f"{file}: {len(read)} texts, {sum(len(d.entities) for d in read)} entities, all right"
    )


@annotation.command()
def convert(
    source: Annotated[Path, typer.Argument(help="The file; brat's folder.")],
    out: Annotated[Path, typer.Argument(help="The file to write; a folder for brat.")],
    source_format: Annotated[Readable, typer.Option("--from", help="Its format.")] = "jsonl",
    out_format: Annotated[Writable, typer.Option("--to", help="Format to write.")] = "records",
    words: Words = "unicode",
) -> None:
    """Converts marked texts; `records` is what a study of token-classification reads.

    Exit code 2 if something lies where it would write, 3 for what cannot be read, does not fit its text,
    or has no place in the other format.
    """
    from fedward_shared.annotation import formats
    from fedward_shared.errors import UsageError

    if out.exists():
        raise UsageError(f"{out}: is there already and was left as it is")
    read = formats.read(source, source_format)
    formats.write(out, read, out_format, words)
    typer.echo(f"wrote {out}: {len(read)} texts, {sum(len(d.entities) for d in read)} entities")


@annotation.command()
def agreement(
    one: Annotated[Path, typer.Argument(help="One annotator's JSON lines.")],
    other: Annotated[Path, typer.Argument(help="Another's, of the same texts in the same order.")],
    words: Words = "unicode",
) -> None:
    """Says how far two annotators agree: Cohen's κ on words, F1 on entities.

    Exit code 3 if the files cannot be read or are not of the same texts.
    """
    from fedward_shared.annotation import agreement as agreements
    from fedward_shared.annotation import documents

    found = agreements.agreement(documents.read(one), documents.read(other), words)
    for title, value in (
        (f"Cohen's κ on {found.tokens} words", found.kappa),
        ("F1, same span and label", found.exact),
        ("F1, overlapping and same label", found.overlapping),
    ):
        typer.echo(f"{title}: {'nothing to agree on' if value is None else f'{value:.3f}'}")
