"""Where the model files are. Cheap: nothing here needs pydantic, NumPy or pandas."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hlm_models.config.located import Located, dotted, read_yaml
from hlm_models.errors import InputErrors, Problem, nearest

__all__ = ["Registry", "Summary", "default_folders"]


@dataclass(frozen=True, slots=True)
class Summary:
    """One line of `hlm list`; `source` is the name of a dataset or the path of a file."""

    name: str
    about: str
    formula: str
    source: str


@dataclass(frozen=True, slots=True)
class Registry:
    """The model files in some folders, by name: `NAME.yaml` is the model NAME."""

    folders: Sequence[Path]

    def names(self) -> tuple[str, ...]:
        """Names of all models, sorted.

        Raises
        ------
        InputErrors
            A folder does not exist, or two folders hold a model of one name.
        """
        return tuple(sorted(self._files()))

    def find(self, name: str) -> Path:
        """File of the model; raises InputErrors with the nearest name."""
        files = self._files()
        if name not in files:
            if Path(name).is_file():
                raise InputErrors.one("a model file is YAML, and its name ends in .yaml", file=name)
            message = f"there is no model '{name}'{nearest(name, files)}"
            raise InputErrors.one(f"{message} (`hlm list` shows all)")
        return files[name]

    def summaries(self) -> tuple[Summary, ...]:
        """Each model in short, sorted by name; raises InputErrors for all broken files at once."""
        summaries: list[Summary] = []
        problems: list[Problem] = []
        for name, path in sorted(self._files().items()):
            try:
                summaries.append(_summary(name, read_yaml(path)))
            except InputErrors as error:
                problems += error.problems
        if problems:
            raise InputErrors(problems)
        return tuple(summaries)

    def _files(self) -> dict[str, Path]:
        files: dict[str, Path] = {}
        problems: list[Problem] = []
        for folder in self.folders:
            if not folder.is_dir():
                problems.append(Problem("there is no such folder of models", file=str(folder)))
            for path in sorted(folder.glob("*.yaml")):
                first = files.setdefault(path.stem, path)
                if not first.samefile(path):
                    message = f"the model '{path.stem}' is also in {first}; rename one of them"
                    problems.append(Problem(message, file=str(path)))
        if problems:
            raise InputErrors(problems)
        return files


def default_folders() -> tuple[Path, ...]:
    """Folder of the zoo: the one packed with the package, else that of the checkout."""
    package = Path(__file__).resolve().parents[1]
    packed = package / "_configs"
    return (packed if packed.is_dir() else package.parent / "configs",)


def _summary(name: str, located: Located) -> Summary:
    data = located.data.get("data")
    source = data.get("source") if isinstance(data, dict) else None
    texts = {
        ("about",): located.data.get("about", ""),
        ("formula",): located.data.get("formula"),
        ("data", "source"): source.get("file") if isinstance(source, dict) else source,
    }
    problems = [
        Problem("expected text", key=dotted(path), file=located.file, line=located.line(path))
        for path, value in texts.items()
        if not isinstance(value, str)
    ]
    if problems or located.problems:
        raise InputErrors([*located.problems, *problems])
    return Summary(name, *map(str, texts.values()))
