"""Makes a data directory of Parquet files, a saved dataset of Hugging Face's `datasets`, or manifests of lhotse.

What a file is, its content says: Parquet begins with "PAR1", a saved dataset is a folder with a state.json, and
manifests of lhotse are lines of JSON.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path

from vqaudio import files
from vqaudio.corpora.arrow import Columns, is_parquet, is_saved_dataset, read_tables
from vqaudio.corpora.collecting import Collection, Found
from vqaudio.corpora.manifests import read_manifests
from vqaudio.datadir.layout import DATA_DIRECTORY
from vqaudio.errors import UserError
from vqaudio.outputs import check_new, claim_folder


def import_data(sources: list[Path], out: Path, columns: Columns) -> int:
    """Write the data directory `out`; return the number of its utterances.

    Audio inside the sources is written to files in `out/audio/`; other audio stays where it is.

    Args:
        sources: files or folders of one kind. A folder that is no saved dataset stands for the Parquet files in it.
        out: a folder that does not exist yet. It appears when all of it is there.
        columns: the columns of Parquet files and datasets, where they have other names than usual.

    Raises:
        UserError: a source is missing, malformed or of no known kind, two utterances have the same name, audio is
            missing, or `out` exists.
        JobError: the disk is full.
    """
    check_new(out, inputs=sources)
    paths = list(_expanded(sources))
    tables = [is_parquet(path) or is_saved_dataset(path) for path in paths]
    if any(tables) != all(tables):
        raise UserError(f"{paths[tables.index(False)]}: is no Parquet file or saved dataset, but another source is")
    if not all(tables) and any(columns):
        raise UserError(f"{paths[0]}: has no columns to choose; leave out --id, --audio, --text and --speaker")
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=files.PARTIAL, dir=out.parent) as folder:
        made = Path(folder) / "data"
        claim_folder(made, DATA_DIRECTORY)
        with Collection(made, out.absolute()) as collection:
            found: Iterator[Found] = read_tables(paths, columns) if all(tables) else read_manifests(paths, collection)
            for utterance in found:
                collection.add(utterance)
            count = collection.write()
        if count == 0:
            raise UserError(f"{sources[0]}: holds no utterances; check the path")
        made.rename(out)
    return count


def _expanded(sources: list[Path]) -> Iterator[Path]:
    """Yield files and saved datasets."""
    for path in sources:
        if not path.exists():
            raise UserError(f"{path}: no such file or folder; check the path")
        if not path.is_dir() or is_saved_dataset(path):
            yield path
            continue
        if (path / "dataset_dict.json").is_file():
            parts = ", ".join(sorted(each.name for each in path.iterdir() if is_saved_dataset(each)))
            raise UserError(f"{path}: holds several datasets ({parts}); give the folder of one")
        inside = sorted(path.rglob("*.parquet"))
        if not inside:
            raise UserError(f"{path}: holds no .parquet files and no dataset; give files, or the folder of a dataset")
        yield from inside
