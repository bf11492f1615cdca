"""The documentation site: ``sphinx-build -W docs docs/_build``."""

import trio_livekit

project = "trio_livekit"
author = "The trio_livekit authors"
copyright = "2026, the trio_livekit authors"
version = release = trio_livekit.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
exclude_patterns = ["_build"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

html_theme = "furo"
html_title = "trio_livekit"

# The reference is made from docstrings, which are written in the style that napoleon reads.
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_class_signature = "mixed"
autodoc_default_options = {"members": True, "show-inheritance": True}
python_use_unqualified_type_names = True
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
