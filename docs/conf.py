"""How the documentation is built: `make docs`. Warnings are errors."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import vaelab

os.environ.setdefault("OMP_NUM_THREADS", "1")
HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "extensions"))

project = "vaelab"
version = release = vaelab.__version__
extensions = [
    "myst_parser", "sphinx.ext.autodoc", "sphinx.ext.mathjax", "sphinx_copybutton", "generated", "live",
    "sphinx.ext.napoleon",  # after `generated`, whose docstrings it reads
]  # fmt: skip
exclude_patterns = ["extensions", "_build"]
html_theme = "furo"
html_title = "vaelab"
html_show_copyright = False
html_static_path = ["style"]
html_css_files = ["pages.css"]
toc_object_entries = add_module_names = False
myst_enable_extensions = ["dollarmath", "colon_fence"]
myst_heading_anchors = 3
napoleon_google_docstring = False
napoleon_use_rtype = napoleon_use_ivar = False
autodoc_typehints = "none"
autodoc_member_order = "bysource"
copybutton_prompt_text = "$ "
live_examples = str(HERE.parent / "examples")
nitpicky = False
