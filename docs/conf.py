"""Sphinx configuration; `make docs` builds with it, warnings being errors."""

import logging
import re
import shutil
from importlib.metadata import version as installed_version
from itertools import pairwise
from pathlib import Path

from sphinx_gallery.scrapers import figure_rst

logging.getLogger("skfem").setLevel(logging.WARNING)  # sphinx-gallery shows what is logged

project = "pdecontrol"
author = "pdecontrol developers"
copyright = "2026, pdecontrol developers"
version = release = installed_version("pdecontrol")

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "sphinx.ext.napoleon",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build", "gallery/**/*.ipynb"]
nitpicky = False
suppress_warnings = [
    "config.cache",  # sphinx_gallery_conf holds a function and cannot be pickled
    "sphinx_gallery.space_in_filename",  # it means the path of the checkout
]

templates_path = ["_templates"]
html_theme = "furo"
html_title = f"pdecontrol {version}"

autosummary_generate = True
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
napoleon_google_docstring = False
napoleon_use_rtype = False
napoleon_attr_annotations = False  # types stand in the signature


def saved_figures(block, block_vars, gallery_conf):
    """Show the PNG files that an example has written; moving them leaves the folder of the examples clean."""
    moved = []
    for source in sorted(Path(block_vars["src_file"]).parent.rglob("*.png")):
        target = next(block_vars["image_path_iterator"])
        shutil.move(source, target)
        moved.append(target)
    return figure_rst(moved, gallery_conf["src_dir"])


sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "gallery",
    "filename_pattern": r"\.py$",  # run every script ...
    "ignore_pattern": r"__init__\.py$",  # ... but not the file that makes the folder a package
    "image_scrapers": ("matplotlib", saved_figures),
    "show_memory": False,
    "download_all_examples": False,
    "write_computation_times": False,
}


def describe_parameters(app, what, name, obj, options, lines):
    """Make what follows the colon of a parameter its description, which napoleon takes for a type."""
    sections = [title for title, rule in pairwise(lines) if re.fullmatch("-{3,}", rule)]
    section, given = None, list(lines)
    lines.clear()
    for line in given:
        section = line if line in sections else section
        parameter = re.fullmatch(r"(\S.*?) : (.+)", line) if section in ("Parameters", "Attributes") else None
        lines.extend([parameter[1], f"    {parameter[2]}"] if parameter else [line])


def setup(app):
    app.connect("autodoc-process-docstring", describe_parameters, priority=400)  # that of napoleon is 500
