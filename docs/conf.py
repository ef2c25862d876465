"""Sphinx reads this: `make docs`. What is our own is in `_ext`, one subject per file."""

import os
import sys
import tomllib
from pathlib import Path

DOCS = Path(__file__).resolve().parent
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path[:0] = [str(DOCS / "_ext"), str(DOCS.parent)]

PROJECT = tomllib.loads((DOCS.parent / "pyproject.toml").read_text("utf-8"))["project"]

project = "srnn_tf"
author = "the srnn_tf authors"
project_copyright = author
version = release = PROJECT["version"]

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_design",
    "cards",
    "docstrings",
    "mathfont",
    "mathml",
    "repository",
]
exclude_patterns = ["_build", "_ext", "**.ipynb_checkpoints"]
# Names of Python, TensorFlow and Keras: no inventory of theirs is read, builds are offline.
nitpick_ignore_regex = [(r"py:.*", r"(?!srnn_tf\.).*")]
default_role = "literal"
highlight_language = "none"

myst_enable_extensions = ["attrs_inline", "colon_fence", "dollarmath"]
myst_heading_anchors = 3
nb_execution_mode = "off"  # outputs are stored
nb_ipywidgets_js = {}
repository_address = PROJECT["urls"]["Repository"]

autodoc_inherit_docstrings = False  # those of Keras are no docs of ours
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
maximum_signature_line_length = 70
napoleon_numpy_docstring = False
add_module_names = False
python_use_unqualified_type_names = True
toc_object_entries_show_parents = "hide"

html_theme = "furo"
html_title = f"srnn_tf {version}"
html_favicon = html_logo = "_static/logo.svg"
html_static_path = ["_static", "pictures/bach.png", "pictures/bach.mp3"]
html_css_files = ["site.css"]
html_js_files = [("player.js", {"defer": "defer"})]
templates_path = ["_templates"]
html_sidebars = {
    "**": [
        "sidebar/brand.html",
        "sidebar/search.html",
        "sidebar/versions.html",
        "sidebar/scroll-start.html",
        "sidebar/navigation.html",
        "sidebar/scroll-end.html",
    ]
}
html_copy_source = html_show_sourcelink = False
html_math_renderer = "mathml"
pygments_style = "friendly"
pygments_dark_style = "github-dark"
