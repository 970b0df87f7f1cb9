"""`fedward site data`: from the ward's files to a dataset, without anything that leaves."""

import math
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from fedward_client.commands.options import DEFAULT_SETTINGS, SettingsPath

data = typer.Typer(help="From the ward's files to a dataset.", no_args_is_help=True)

Dataset = Annotated[Path, typer.Argument(help="The folder that `prepare` has made.")]


@data.command()
def prepare(
    folder: Annotated[Path, typer.Argument(help="The ward's files, and folders of them.")],
    out: Annotated[Path, typer.Option(help="Folder of the dataset, new or to be added to.")],
    labels: Annotated[
        Path | None, typer.Option(help="CSV of `code` and `label`: the longest beginning counts.")
    ] = None,
    low_quality: Annotated[
        Literal["flag", "leave-out", "unscored"],
        typer.Option(help="What becomes of texts below --cut."),
    ] = "flag",
    cut: Annotated[
        float, typer.Option(help="Quality below which a text is taken for damaged.")
    ] = 0.7,
    head: Annotated[
        Path | None, typer.Option(help="Head that tells quality, of `train-quality`.")
    ] = None,
    names: Annotated[
        Literal["model", "rules"],
        typer.Option(help="What finds names: a base model and rules, or rules alone."),
    ] = "model",
    threshold: Annotated[float, typer.Option(help="Jaccard similarity of near-duplicates.")] = 0.85,
    suppresses: Annotated[
        int,
        typer.Option(help="Records of others that one may leave out as their duplicate, each."),
    ] = 0,
    day_first: Annotated[bool, typer.Option(help="3/4/2021 is in April.")] = False,
    mask: Annotated[
        str | None,
        typer.Option(
            metavar="TOP,RIGHT,BOTTOM,LEFT",
            help="Parts of pictures to blacken where text may be burnt in; 0,0,0,0 for nothing.",
        ),
    ] = None,
    processes: Annotated[
        int | None, typer.Option(min=1, max=1024, help="How many; one for each core by default.")
    ] = None,
    site: SettingsPath = DEFAULT_SETTINGS,
) -> None:
    """Makes a dataset of a folder: reads, drops duplicates, scores, takes identifiers out.

    Files that cannot be read are quarantined with the reason. What was prepared before stays as it is,
    new files are added; a run that was stopped goes on. Exit code 3 for no files, or one that is another
    than when it was prepared; 5 without the base model that tells quality or finds names; 8 for a
    dataset begun under other options; 11 if an extra is not installed.
    """
    from contextlib import closing

    from rich.console import Console

    from fedward_client.preparation import bars, terms
    from fedward_client.preparation import prepare as preparing
    from fedward_client.preparation import store as stores
    from fedward_client.preparation.identifiers.pseudonyms import LABEL
    from fedward_client.preparation.labels import Labels
    from fedward_client.preparation.mask import Mask
    from fedward_client.site import Site
    from fedward_shared.text.duplicates import Terms

    masked = Mask.parse(mask) if mask is not None else None
    with closing(Site.open(site)) as opened:
        way, kept = terms.of(
            opened.secrets.derive(LABEL),
            Terms(threshold, suppresses=suppresses),
            terms.quality(opened.settings.base_models, head, cut, low_quality),
            terms.names(opened.settings.base_models, names),
            Labels.read(labels) if labels else Labels({}),
            day_first,
            masked,
            processes or preparing.cores(),
        )
    with stores.Store(out, kept) as store, bars.shown(Console(stderr=True)) as progress:
        report = preparing.prepare(folder, store, way, progress)
    with closing(Site.open(site)) as opened:
        if not any(_logged(report).items() <= e.details.items() for e in opened.audit.entries):
            opened.log("prepared", **_logged(report), runs=report["runs"])
    for line in _sentences(report):
        typer.echo(line)
    typer.echo(f"wrote {out / stores.RECORDS}; `fedward site data card {out}` draws it")


def _logged(report: dict[str, Any]) -> dict[str, Any]:
    from fedward_client.preparation.store import PICTURES, RECORDS

    return {"records": report["digests"][RECORDS], "pictures": report["digests"][PICTURES]}


def _sentences(report: dict[str, Any]) -> list[str]:
    files, documents, records = report["files"], report["documents"], report["records"]
    pictures = report["pictures"]
    return [
        f"files: {files['found']:,} found = {files['read']:,} read + "
        f"{files['quarantined']:,} quarantined",
        f"documents: {documents['read']:,} read = {documents['kept']:,} kept + "
        f"{documents['duplicates']:,} duplicates + {documents['low_quality']:,} of low quality",
        f"records: of {records['owners']:,} owners, {records['labelled']:,} with a label, "
        f"{records['below_cut']:,} below the cut; "
        f"{report['identifiers']['texts_with_any']:,} had identifiers",
        f"pictures: {pictures['read']:,} read = {pictures['kept']:,} kept + "
        f"{pictures['duplicates']:,} duplicates; of {pictures['owners']:,} owners",
    ]


@data.command()
def card(
    dataset: Dataset,
    out: Annotated[
        Path | None, typer.Option(help="The page; card.html in the dataset's folder by default.")
    ] = None,
    delta: Annotated[float, typer.Option(help="δ of what ε buys.")] = 1e-5,
) -> None:
    """Draws a dataset's card: what became of its files, its labels, quality, and what ε buys.

    Exit code 3 for a folder without a dataset, 8 for records that are others than were prepared.
    """
    from fedward_client.preparation import card as cards
    from fedward_shared.errors import UsageError
    from fedward_shared.files import write_atomically

    if not 0 < delta < 1:
        raise UsageError(f"--delta: {delta:g} is not between 0 and 1")
    report = cards.load(dataset)
    sheet = cards.thumbnails(dataset, report)
    page = cards.render(dataset.resolve().name, report, sheet, delta)
    place = out or dataset / cards.PAGE
    try:
        write_atomically(place, page.encode(), 0o600)
    except OSError as error:
        raise UsageError(f"{place}: cannot be written: {error.strerror}") from error
    typer.echo(f"wrote {place}")


@data.command()
def train_quality(
    file: Annotated[
        Path, typer.Argument(help="JSONL, CSV or Parquet: text, and label undamaged or damaged.")
    ],
    out: Annotated[Path, typer.Option(help="The head to write, for `prepare --head`.")],
    base_model: Annotated[
        Path | None, typer.Option(help="Folder of a BERT; the first in site.toml by default.")
    ] = None,
    site: SettingsPath = DEFAULT_SETTINGS,
) -> None:
    """Trains the head that tells the quality of texts on labels of this site's own.

    It follows from the texts without differential privacy, and stays here as they do. Exit code 2 if
    something lies where it would write, 3 for labels that cannot be used, 5 without a base model.
    """
    from fedward_client import settings
    from fedward_client.preparation import heads
    from fedward_shared.errors import ModelError, UsageError

    if out.exists():
        raise UsageError(f"{out}: is there already and was left as it is")
    known = (base_model,) if base_model else settings.load(site).base_models
    if not known:
        raise ModelError(f"{site}: base_models: none is there; name one, or give --base-model")
    trained = heads.train(file, known[0])
    try:
        trained.head.save(out)
    except OSError as error:
        raise UsageError(f"{out}: cannot be written: {error.strerror}") from error
    seen = f"{trained.undamaged:,} undamaged texts and {trained.damaged:,} damaged ones"
    told = (
        "too few to hold some out"
        if math.isnan(trained.auc)
        else f"ROC-AUC {trained.auc:.3f} on a fifth that it had not seen"
    )
    typer.echo(f"wrote {out}: {seen}, {told}")


@data.command()
def pseudonym(
    owners: Annotated[
        list[str], typer.Argument(metavar="OWNER...", help="As the files name them.")
    ],
    site: SettingsPath = DEFAULT_SETTINGS,
) -> None:
    """Says the pseudonyms of people, by which their records are found, and can be objected to."""
    from contextlib import closing

    from fedward_client.preparation.identifiers.pseudonyms import LABEL, Pseudonyms
    from fedward_client.site import Site

    with closing(Site.open(site)) as opened:
        pseudonyms = Pseudonyms(opened.secrets.derive(LABEL))
    for owner in owners:
        typer.echo(f"{pseudonyms.person(owner).pseudonym}  {owner}")
