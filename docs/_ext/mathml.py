"""Equations as MathML, made when the site is built: browsers show it without a script or a font."""

import html
import re
import xml.etree.ElementTree as ET

from docutils import nodes
from latex2mathml.converter import convert_to_element
from sphinx.locale import _
from sphinx.util import logging
from sphinx.util.math import get_node_equation_number

LOG = logging.getLogger(__name__)
FUNCTIONS = {"log", "exp", "max", "min", "KL", "RNN"}
SIGNS = {";": ";", "~": "\N{TILDE OPERATOR}"}
OPEN, CLOSED = {"(", "[", "{"}, {")", "]", "}"}


def convert(latex: str, display: str) -> str:
    """MathML of an equation.

    Raises:
        ValueError: there is a command that the converter does not know.
    """
    latex = re.sub(r"\\(begin|end)\{aligned\}", r"\\\1{align*}", latex)
    element = convert_to_element(latex, display=display)
    for child in element.iter():
        child.text = html.unescape(child.text or "")
    for parent in list(element.iter()):
        _space(parent)
        _scripts(parent)
    for row in element.iter("mtr"):
        for i, cell in enumerate(row):  # browsers do not read `columnalign`
            cell.set("style", f"text-align: {'left' if i % 2 or _is_cases(cell) else 'right'}")
    for child in element.iter():
        if re.search(r"[\\&$]", child.text or ""):
            raise ValueError(f"{child.text!r} in {latex!r} is not known to latex2mathml")
    element.attrib.pop("xmlns", None)  # HTML needs none
    return ET.tostring(element, encoding="unicode", method="html")


def _space(parent: ET.Element) -> None:
    """Names of functions are identifiers, with the thin space around them that TeX has."""
    children, spaced = list(parent), []
    if parent.tag not in ("math", "mrow", "mtd"):
        for child in children:
            _identifier(child)
        return
    for i, child in enumerate(children):
        if _is_function(child):
            before, after = children[i - 1] if i else None, children[i + 1 : i + 2]
            if before is not None and (before.tag != "mo" or before.text in CLOSED):
                spaced.append(_thin())
            spaced.append(child)
            if after and after[0].text not in OPEN and not _begins_with_bracket(after[0]):
                spaced.append(_thin())
        else:
            spaced.append(child)
    for child in children:
        parent.remove(child)
    parent.extend(spaced)


def _is_cases(cell: ET.Element) -> bool:
    return cell.attrib.pop("columnalign", "") == "left"


def _scripts(parent: ET.Element) -> None:
    """Signs in scripts have no space around them; some that are no letters are signs."""
    if parent.tag == "mi" and parent.text in SIGNS:
        parent.tag, parent.text = "mo", SIGNS[parent.text]
    if parent.tag in ("msub", "msup", "msubsup", "munder", "mover", "munderover"):
        for script in list(parent)[1:]:
            for sign in script.iter("mo"):
                sign.attrib.update(lspace="0", rspace="0")


def _thin() -> ET.Element:
    return ET.Element("mspace", width="0.167em")


def _begins_with_bracket(element: ET.Element) -> bool:
    return element.tag == "mrow" and len(element) > 0 and element[0].text in OPEN


def _identifier(element: ET.Element) -> bool:
    """Whether this is the name of a function; `\\operatorname` becomes an identifier."""
    name = element.tag in ("mi", "mo") and element.text in FUNCTIONS
    if name:
        element.tag = "mi"
        element.attrib.clear()
    return name


def _is_function(element: ET.Element) -> bool:
    based = element.tag in ("msub", "msup", "munder", "msubsup") and len(element) > 0
    return _identifier(element[0] if based else element)


def _html(node: nodes.Element, display: str) -> str:
    try:
        return convert(node.astext(), display)
    except Exception as error:  # each library error is one of the text
        LOG.warning("equation: %s", error, location=node)
        return ""


def inline(self, node: nodes.math) -> None:
    self.body.append(_html(node, "inline"))
    raise nodes.SkipNode


def block(self, node: nodes.math_block) -> None:
    names = {"ids": node["ids"]} if node["ids"] else {}
    self.body.append(self.starttag(node, "div", CLASS="math", **names))
    if node["number"]:
        number = get_node_equation_number(self, node)
        self.body.append(f'<span class="eqno">({number})')
        self.add_permalink_ref(node, _("Link to this equation"))
        self.body.append("</span>")
    self.body.append(_html(node, "block") + "</div>\n")
    raise nodes.SkipNode


def setup(app):
    app.add_html_math_renderer("mathml", (inline, None), (block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
