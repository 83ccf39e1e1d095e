"""Sphinx configuration: the site is built without a network, and a warning is an error (`make docs`)."""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))
os.environ.setdefault("NUMBA_DISABLE_INTEL_SVML", "1")

import mdslib

project = "mdslib"
author = "the authors of mdslib"
copyright = author
release = version = mdslib.__version__

extensions = ["myst_nb", "sphinx.ext.autodoc", "numpydoc", "sphinx_design", "mds_docs"]
exclude_patterns = ["_build", "_ext"]

# Text --------------------------------------------------------------------------------------------------------------
myst_enable_extensions = ["attrs_block", "colon_fence", "deflist"]
myst_heading_anchors = 3
nb_execution_mode = "off"  # notebooks are executed by nbval, in `make test`
default_role = "code"  # docstrings write names in single backticks
nitpicky = True

# API ---------------------------------------------------------------------------------------------------------------
autodoc_typehints = "none"  # numpydoc's sections say types, with shapes and units
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False

# HTML --------------------------------------------------------------------------------------------------------------
html_theme = "furo"
html_title = f"mdslib {release}"
html_static_path = ["_static"]
html_css_files = ["mdslib.css"]
html_show_sphinx = False
html_show_copyright = False
html_copy_source = False
pygments_style = "friendly"
pygments_dark_style = "github-dark"
