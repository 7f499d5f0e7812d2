"""`python -m coin_lightning data build task=gqa raw=/data/GQA out=/data/coin [key=value ...]`

Writes CoIN's instruction files from a raw data set, and links to its images. A build that was stopped goes on; what
is finished is not built again.

  task=NAME      one of the tasks below, several separated by commas, or all
  raw=FOLDER     the raw data set; with several tasks the folder that holds theirs
  out=FOLDER     gets Instructions_*/<Task>/*.json, cl_dataset/ and build/<Task>/build.json
  types=[original,diverse,10type]   instruction types; all three if not given
  seed=0         of the 10Type draws and of ImageNet's classes
  skip=false     true leaves out records with problems and lists them in build/<Task>/skipped.json
  images=link    link: cl_dataset gets links to the raw image folders; copy: copies; none: they lie there already;
                 unchecked: nobody looks for images
  grouped=true   false makes every question a sample, instead of one conversation per image or book as CoIN has
Exit status: 0 all built, 1 something could not be built.
"""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from coin_lightning.benchmarks.coin.build import RECORDS, build_task
from coin_lightning.benchmarks.coin.options import BuildOptions, BuiltSplit
from coin_lightning.benchmarks.coin.suite import RAW_TASKS
from coin_lightning.cli.build_progress import BuildBar
from coin_lightning.cli.build_request import Request, parse
from coin_lightning.cli.ending import ended, tell
from coin_lightning.errors import CoinLightningError


def main(arguments: list[str]) -> int:
    """Run the command; returns the exit status."""
    if {"-h", "--help"} & set(arguments) or not arguments:
        print(help_text())
        return 0
    return ended(lambda interruption: build(parse(arguments), Console()))


def build(request: Request, console: Console) -> int:
    """Build all requested tasks, one after the other; a task that fails does not keep the next from being built."""
    built: list[BuiltSplit] = []
    failures: list[CoinLightningError] = []
    with BuildBar(console) as bar:
        for task, raw in request.tasks:
            own = {name: value for name, value in request.options.options.items() if name in task.options}
            options = BuildOptions(**{**vars(request.options), "options": own})
            try:
                built += build_task(task, raw, request.out, options, bar)
            except CoinLightningError as error:
                failures.append(error)
    if built:
        console.print(_table(built))
    for task in request.absent:
        console.print(f"{task.folder}: no folder {' or '.join(task.raw_folders)} there, so it is not built")
    if any(split.skipped for split in built):
        console.print(f"skipped records are listed in {request.out / RECORDS}/<Task>/skipped.json", soft_wrap=True)
    for failure in failures:
        tell(failure)
    return 1 if failures else 0


def _table(built: Sequence[BuiltSplit]) -> Table:
    table = Table("task", "split")
    for name in ("samples", "questions", "skipped"):
        table.add_column(name, justify="right")
    table.add_column("")
    for split in built:
        counts = (split.samples, split.questions, split.skipped)
        state = "built" if split.fresh else "was there"
        table.add_row(split.folder, split.split, *(f"{count:,}" for count in counts), state)
    return table


def help_text() -> str:
    """The module's text with what each task expects in its raw folder."""
    lines = [str(__doc__), "Raw folders (and what task=all looks for below raw=):"]
    for task in RAW_TASKS.values():
        lines.append(f"  {task.key}  ({', '.join(task.raw_folders)})")
        lines.append(f"    {task.layout}")
        if own := [name for name in task.options if name != "seed"]:
            lines.append(f"    own keys: {', '.join(own)}")
    return "\n".join(lines)
