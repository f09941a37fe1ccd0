"""Model directories on a hub: to huggingface.co or another hub that speaks its language (`HF_ENDPOINT`), and from it.

Only these files travel: `config.yaml` without paths of this machine, `model.safetensors`, `speakers.txt`, and the card
`README.md`. Tokens are those of huggingface_hub itself (`HF_TOKEN`, or `hf auth login`).
"""

import contextlib
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import vqaudio
from vqaudio import files
from vqaudio.errors import JobError, UserError, first_line
from vqaudio.model_directory import load_model
from vqaudio.outputs import claim_folder
from vqaudio.report.card import make_card

if TYPE_CHECKING:
    from huggingface_hub import HfApi
    from omegaconf import DictConfig

KIND = "pulled model"
"""What the mark of a pulled model says (see `vqaudio.outputs`): a folder that no training writes into."""

CARD = "README.md"

SIZES = {"config.yaml": 1 << 20, "speakers.txt": 16 << 20, CARD: 4 << 20, "model.safetensors": 4 << 30}
"""Files that travel, and the most bytes of each that are fetched; the weights come last."""

OPTIONAL = {CARD}

PATHS = {"exp_dir", "init", "data.train", "data.valid", "data.units", "data.valid_units"}
"""Settings that are paths, even where they look like words."""

COMMIT = re.compile("[0-9a-f]{40}([0-9a-f]{24})?")


class Version(NamedTuple):
    """A repository at one commit."""

    repo: str
    commit: str


def push(model_dir: Path, repo: str, *, public: bool) -> Version:
    """Upload a model directory as one commit, and return it.

    A repository that does not exist is made, for its owner alone unless it is to be `public`. A README.md in the model
    directory is the card as it is; else one is made of what the directory tells.

    Raises:
        UserError: the model is not complete, or the hub refuses (name, token, rights).
        JobError: the hub cannot be reached, or fails.
    """
    loaded = load_model(model_dir)
    contents = {name: (model_dir / name).read_bytes() for name in ("model.safetensors", "speakers.txt")}
    contents["config.yaml"] = portable_config(loaded.config).encode()
    _check_plain(contents["config.yaml"], str(model_dir / "config.yaml"))
    own = model_dir / CARD
    contents[CARD] = own.read_bytes() if own.is_file() else make_card(model_dir, loaded, repo).encode()
    with _errors(repo):
        from huggingface_hub import CommitOperationAdd

        api = _api()
        api.create_repo(repo, private=not public, exist_ok=True)
        adds = [CommitOperationAdd(name, content) for name, content in sorted(contents.items())]
        commit = api.create_commit(repo, adds, commit_message=f"Model {loaded.hash[:12]}")
    return Version(repo, commit.oid)


def pull(repo: str, out: Path, *, revision: str | None) -> Version:
    """Download a model directory at a revision (a branch, a tag or a commit; None: the newest), and return its commit.

    All files are of that one commit. Nothing is written to `out` before the model is complete and has been loaded; its
    weights are written last.

    Raises:
        UserError: there is no such repository or revision, it holds no model that loads, a file is too large, or `out`
            may not be written into.
        JobError: the hub cannot be reached, or fails.
    """
    claim_folder(out, KIND)
    with tempfile.TemporaryDirectory() as scratch:
        with _errors(repo):
            version, names = _files_of(repo, revision)
            folder = _fetch(version, names, Path(scratch))
        _check_plain((folder / "config.yaml").read_bytes(), f"{repo}: config.yaml")
        try:
            load_model(folder)
        except UserError as error:
            reason = str(error).replace(f"{folder}/", "").partition("; ")[0]
            raise UserError(f"{repo}: holds no model that loads ({reason}); give another --revision") from None
        (out / "model.safetensors").unlink(missing_ok=True)
        if CARD not in names:
            (out / CARD).unlink(missing_ok=True)
        for name in names:
            files.copy_file(folder / name, out / name)
    return version


def portable_config(config: "DictConfig") -> str:
    """Return the configuration as YAML without what is true on one machine only: paths."""
    from omegaconf import OmegaConf

    def portable(value: Any, place: str) -> Any:
        if not isinstance(value, dict):
            return value
        kept = {key: portable(each, f"{place}{key}.") for key, each in value.items()}
        return {key: each for key, each in kept.items() if f"{place}{key}" not in PATHS and not _is_path(each)}

    return OmegaConf.to_yaml(OmegaConf.create(portable(OmegaConf.to_container(config), "")))


def _check_plain(config: bytes, where: str) -> None:
    """Refuse a configuration with references, which could read the environment of who loads it, a token too."""
    if b"${" in config:
        raise UserError(f"{where}: has a reference (${{…}}), which vqaudio train does not write; put its value there")


def _is_path(value: Any) -> bool:
    return isinstance(value, str) and ("/" in value or "\\" in value or value.startswith("~"))


def _api() -> "HfApi":
    import huggingface_hub

    return huggingface_hub.HfApi(library_name="vqaudio", library_version=vqaudio.__version__)


def _files_of(repo: str, revision: str | None) -> tuple[Version, list[str]]:
    """Return the commit of a revision, and the names of its files that are to be fetched, weights last."""
    info = _api().model_info(repo, revision=revision, files_metadata=True)
    sizes = {entry.rfilename: entry.size for entry in info.siblings or []}
    if not info.sha or not COMMIT.fullmatch(info.sha):
        raise JobError(f"{repo}: the hub names no commit ({info.sha!r}); try again, or give another hub (HF_ENDPOINT)")
    for name, most in SIZES.items():
        if name not in sizes and name not in OPTIONAL:
            raise UserError(f"{repo}: has no {name} at {info.sha[:12]}, so it is no model of vqaudio; correct the name")
        if (sizes.get(name) or 0) > most:
            raise UserError(f"{repo}: {name} has {sizes[name]} bytes, more than {most}; it is no model of vqaudio")
    return Version(repo, info.sha), [name for name in SIZES if name in sizes]


def _fetch(version: Version, names: list[str], scratch: Path) -> Path:
    """Download files of a commit, and return the folder in which they lie under their names."""
    api = _api()
    for name in names:
        path = Path(api.hf_hub_download(version.repo, name, revision=version.commit, cache_dir=scratch))
        if path.stat().st_size > SIZES[name]:
            raise UserError(f"{version.repo}: {name} is larger than the hub says, and than {SIZES[name]} bytes")
    return path.parent


@contextlib.contextmanager
def _errors(repo: str) -> Iterator[None]:
    """Make one line of what huggingface_hub raises."""
    try:
        from huggingface_hub import errors
    except ModuleNotFoundError:
        raise UserError("push and pull need the package huggingface_hub; pip install 'vqaudio[hub]'") from None
    try:
        yield
    except (UserError, JobError):
        raise
    except errors.HFValidationError as error:
        raise UserError(f"{repo}: no name of a repository ({first_line(error)}); give OWNER/NAME") from None
    except errors.RevisionNotFoundError:
        raise UserError(f"{repo}: has no such --revision; give a branch, a tag or a commit of it") from None
    except errors.RepositoryNotFoundError:
        cure = "correct the name, or set HF_TOKEN (hf auth login) if it is private"
        raise UserError(f"{repo}: not found on the hub, or not for this token; {cure}") from None
    except errors.HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else 0
        if status in (401, 403):
            raise UserError(
                f"{repo}: the hub refuses ({status}); set HF_TOKEN (hf auth login) to a token that may"
            ) from None
        raise JobError(f"{repo}: the hub fails ({first_line(error)}); run the same command again later") from None
    except Exception as error:  # of the network, in the words of several libraries
        cure = "check the network, HF_ENDPOINT and HF_HUB_OFFLINE, and run the same command again"
        raise JobError(f"{repo}: {type(error).__name__}: {first_line(error)}; {cure}") from None


__all__ = ["Version", "portable_config", "pull", "push"]
