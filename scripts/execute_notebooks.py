"""Run the notebooks and keep copies with their outputs in docs/notebooks.

`python scripts/execute_notebooks.py [NAME...]` runs notebooks/NAME.ipynb, all of them by default.
Nothing is written of a notebook that fails, warns, or prints where this machine keeps its files.
"""

import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import nbformat
from nbclient import NotebookClient

__all__ = ["COPIES", "LARGEST", "NOTEBOOKS", "execute", "faults"]

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = ROOT / "notebooks"
COPIES = ROOT / "docs" / "notebooks"

LARGEST = 600_000
"""Bytes of a copy that hosts of code still show."""

PRIVATE = re.compile(r"/(?:home|root|work|tmp|usr|private|Users)/|https?://|\bat 0x[0-9a-f]{6,}")
"""What an output may not tell: a path of this machine, an address in the network or in memory."""


def execute(path: Path) -> nbformat.NotebookNode:
    """The notebook with the outputs of a fresh run."""
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=900, resources={"metadata": {"path": str(ROOT)}}).execute()
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
    notebook.metadata = nbformat.read(path, as_version=4).metadata
    return notebook


def faults(notebook: nbformat.NotebookNode) -> Iterator[str]:
    """What is wrong with an executed notebook."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    if not outputs:
        yield "it has no output"
    for output in outputs:
        if output.output_type == "error":
            yield f"it fails: {output.ename}: {output.evalue}"
        text = output.get("text", "") or "".join(
            body for kind, body in output.get("data", {}).items() if kind.startswith("text/")
        )
        if output.get("name") == "stderr" or "Warning:" in text:
            yield f"it warns: {text.strip()[:200]}"
        for found in PRIVATE.finditer(text):
            yield f"it prints {text[max(found.start() - 20, 0) : found.end() + 40]!r}"
    if len(nbformat.writes(notebook).encode()) > LARGEST:
        yield f"it is larger than {LARGEST:,} bytes"


def main(names: list[str]) -> int:
    """Execute the notebooks of these names; 1 if a copy could not be kept."""
    failed = 0
    COPIES.mkdir(parents=True, exist_ok=True)
    for path in sorted(NOTEBOOKS.glob("*.ipynb")):
        if names and path.stem not in names:
            continue
        notebook = execute(path)
        wrong = list(faults(notebook))
        if wrong:
            failed = 1
            kept = Path(tempfile.mkdtemp()) / path.name
            nbformat.write(notebook, kept)
            sys.stderr.write(f"{path.name}: {'; '.join(wrong)}; see {kept}\n")
        else:
            nbformat.write(notebook, COPIES / path.name)
            sys.stdout.write(f"{path.name}\n")
    return failed


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
