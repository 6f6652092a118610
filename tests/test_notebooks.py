# SPDX-License-Identifier: Apache-2.0
"""What the notebooks are made of; ``tests/integration/test_notebooks.py`` runs them."""

import ast
import re
from pathlib import Path

import nbformat
import pytest

NOTEBOOKS = Path(__file__).resolve().parents[1] / "notebooks"
NAMES = [path.name for path in sorted(NOTEBOOKS.glob("*.ipynb"))]
MOST_BYTES = 1_500_000
MOST_LINES = 100
PATHS = re.compile(r"(?<![\w.<])/(?:home|root|tmp|usr|opt|var|work|private|Users|mnt)/|[A-Z]:\\\\|site-packages")


@pytest.fixture(params=NAMES)
def notebook(request):
    return nbformat.read(NOTEBOOKS / request.param, as_version=4)


def texts_of(output):
    """All text of an output, that of its pictures aside."""
    if output.output_type == "stream":
        return [output.text]
    return [text for kind, text in output.get("data", {}).items() if kind.startswith("text/")]


def section(notebook, title):
    """The first code cell after a heading."""
    place = next(n for n, cell in enumerate(notebook.cells) if cell.source.splitlines()[:1] == [title])
    return next(cell for cell in notebook.cells[place:] if cell.cell_type == "code")


def test_there_are_notebooks():
    topics = ("01_first_search", "02_your_own_data", "03_monai_label", "04_blocks_and_controller", "05_many_processes")
    assert {f"{topic}.ipynb" for topic in topics} <= set(NAMES)


def test_it_begins_as_a_tutorial_of_monai(notebook):
    first = notebook.cells[0]
    assert first.cell_type == "markdown"
    assert first.source.startswith("Copyright (c) the monai_ronas authors")
    assert "Licensed under the Apache License, Version 2.0" in first.source
    assert re.search(r"^# \w", first.source, flags=re.MULTILINE)
    assert "pip install" in section(notebook, "## Setup environment").source
    assert "MONAI_DATA_DIRECTORY" in section(notebook, "## Setup data directory").source
    imports = section(notebook, "## Setup imports")
    assert imports.source.splitlines()[-1] == "print_config()"
    assert any("MONAI version" in text for output in imports.outputs for text in texts_of(output))
    assert [cell.metadata.get("tags") for cell in notebook.cells].count(["parameters"]) == 1


def test_it_was_run_from_a_clean_kernel_without_an_error(notebook):
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    outputs = [output for cell in code for output in cell.outputs]
    assert not [output for output in outputs if output.output_type == "error"]
    assert not [output for output in outputs if output.get("name") == "stderr"]
    pictures = [output for output in outputs if "image/png" in output.get("data", {})]
    assert len(pictures) >= 2


def test_its_cells_are_short_and_the_file_is_small(notebook, request):
    for cell in notebook.cells:
        assert len(cell.source.splitlines()) < MOST_LINES
    assert (NOTEBOOKS / request.node.callspec.params["notebook"]).stat().st_size < MOST_BYTES


def test_it_names_no_place_of_a_machine(notebook):
    texts = [cell.source for cell in notebook.cells]
    texts += [text for cell in notebook.cells for output in cell.get("outputs", []) for text in texts_of(output)]
    assert [match[0] for text in texts for match in PATHS.finditer(text)] == []
    assert "papermill" not in notebook.metadata


def test_its_code_is_python(notebook):
    for cell in notebook.cells:
        if cell.cell_type == "code":
            ast.parse("\n".join(line for line in cell.source.splitlines() if not line.startswith("!")))


def test_the_readme_links_each_of_them():
    readme = (NOTEBOOKS.parent / "README.md").read_text(encoding="utf-8")
    for name in NAMES:
        assert f"(notebooks/{name})" in readme
    for picture in re.findall(r"\((notebooks/figures/[^)]+)\)", readme):
        assert (NOTEBOOKS.parent / picture).stat().st_size < 150_000
