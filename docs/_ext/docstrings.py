"""Our docstrings, which are plain text with ASCII maths, as reStructuredText.

`napoleon` reads the sections `Args:`, `Returns:` and `Raises:`. This makes the rest readable for
it: indented blocks are literal, examples are code, and stars, bars and underscores are themselves.
"""

import importlib
import inspect
import re

from docutils import nodes
from sphinx.util.inspect import signature as read
from sphinx.util.inspect import stringify_signature

SECTIONS = ("Args:", "Returns:", "Raises:", "Yields:", "Attributes:")
LIST = re.compile(r"\s*(- |\d+\. )")
ARXIV = re.compile(r"arXiv:(\d{4}\.\d{4,5})")


def escaped(text: str) -> str:
    """Text whose code is literal, and in which no other character is markup."""
    parts = re.split(r"(`+[^`]+`+)", text)
    for i, part in enumerate(parts):
        if i % 2:
            parts[i] = f"``{part.strip('`')}``"
        else:
            part = re.sub(r"([*|\\])", r"\\\1", part)
            part = re.sub(r"_(?=$|[^A-Za-z0-9{<>_])", r"\\_", part)
            parts[i] = ARXIV.sub(r"`arXiv:\1 <https://arxiv.org/abs/\1>`__", part)
    return "".join(parts)


def indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _block(lines: list[str], language: str) -> list[str]:
    least = min(indent(line) for line in lines if line.strip())
    return ["", f".. code-block:: {language}", "", *(f"   {x[least:]}" for x in lines), ""]


def restructured(lines: list[str]) -> list[str]:
    """The lines of a docstring as reStructuredText for napoleon."""
    out: list[str] = []
    i, base, listed = 0, 0, False
    while i < len(lines):
        line = lines[i]
        if not line.strip():
            out.append("")
            i += 1
            continue
        here = indent(line)
        if line.strip() == "Example:" and here == 0:
            i, block = _indented(lines, i + 1, here + 1)
            is_doctest = any(x.strip().startswith(">>>") for x in block)
            out += ["", ".. rubric:: Example", *_block(block, "pycon" if is_doctest else "python")]
            base = 0
            continue
        if here == 0:
            base, listed = (4, False) if line.strip() in SECTIONS else (0, bool(LIST.match(line)))
        literal = here >= base + 4 and not listed and not (i and lines[i - 1].strip())
        if literal and base == 0:
            i, block = _indented(lines, i, here)
            out += _block(block, "none")
            continue
        is_section = here == 0 and line.strip() in SECTIONS
        out.append(line if is_section else line[:here] + escaped(line[here:]))
        i += 1
    return out


def _indented(lines: list[str], start: int, least: int) -> tuple[int, list[str]]:
    """The block of lines from `start` on that are blank or indented, without blank ends."""
    end = start
    while end < len(lines) and (not lines[end].strip() or indent(lines[end]) >= min(least, 1)):
        end += 1
    block = lines[start:end]
    while block and not block[-1].strip():
        block.pop()
    while block and not block[0].strip():
        block.pop(0)
    return end, block


def process(app, what, name, obj, options, lines):
    lines[:] = restructured(list(lines))


def skip(app, what, name, obj, skipped, options):
    """Fields of named tuples, and what a base class of a library puts into ours, are not ours."""
    text, module = getattr(obj, "__doc__", None), getattr(obj, "__module__", None)
    is_field = isinstance(text, str) and text.startswith("Alias for field")
    is_foreign = isinstance(module, str) and module.startswith(("tensorflow", "keras", "tf_keras"))
    return True if is_field or (what == "class" and is_foreign) else None


def signature(app, what, name, obj, options, arguments, returns):
    """The arguments of `__init__`: Keras' classes hide them behind `__new__`."""
    if what != "class" or "__init__" not in vars(obj) or "__new__" not in dir(obj):
        return None
    try:
        found = read(obj.__init__, bound_method=True)
    except (TypeError, ValueError):
        return None
    text = stringify_signature(found, show_return_annotation=False, unqualified_typehints=True)
    return re.sub(r"= <function .*?>(?=[,)])", "= ...", text), ""


def public_names(app, env, node, content):
    """A type that is defined in a private place is found under the name that is documented."""
    if node.get("refdomain") != "py":
        return None
    domain, wanted = env.get_domain("py"), node["reftarget"]
    for name in domain.objects:
        if name not in _DEFINED:
            _DEFINED[name] = _place(name)
    for public, place in _DEFINED.items():
        if place == wanted or (
            "." not in wanted and public in domain.objects and public.rpartition(".")[2] == wanted
        ):
            entry = domain.objects[public]
            refnode = nodes.reference("", "", content.deepcopy(), internal=True)
            uri = app.builder.get_relative_uri(node["refdoc"], entry.docname)
            refnode["refuri"] = f"{uri}#{entry.node_id}"
            return refnode
    return None


_DEFINED: dict[str, str | None] = {}


def _place(name: str) -> str | None:
    """Where a documented class or function is defined: `srnn_tf.structures.vrnn.VRNN`."""
    module, _, last = name.rpartition(".")
    try:
        value = getattr(importlib.import_module(module), last)
    except (ImportError, AttributeError):
        return None
    is_code = inspect.isclass(value) or inspect.isfunction(value)
    return f"{value.__module__}.{value.__qualname__}" if is_code else None


def setup(app):
    app.connect("autodoc-process-docstring", process, priority=400)  # before napoleon
    app.connect("autodoc-process-signature", signature)
    app.connect("autodoc-skip-member", skip)
    app.connect("missing-reference", public_names)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
