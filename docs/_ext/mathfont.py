"""The font of equations: the glyphs that we need of STIX Two Math, which the package ziamath has.

Systems without a font for maths draw small sums and wrong spaces. A subset weighs little.
"""

import string
from pathlib import Path

from fontTools import subset

GREEK = "".join(chr(c) for c in range(0x3B1, 0x3CA)) + "ΓΔΘΛΞΠΣΦΨΩ"
SIGNS = "−±×·…⋯∑∏∫√∂∇∞∈∼≈≠≤≥∝∣∥‖→←↦⟨⟩ℒ"
# Italic Latin and Greek, script and double-struck letters.
ALPHABETS = [(0x1D434, 0x1D468), (0x1D6A4, 0x1D71C), (0x1D49C, 0x1D4B6), (0x1D538, 0x1D552)]
CHARACTERS = (
    string.printable
    + GREEK
    + SIGNS
    + "ℎℬℰℱℋℐℳℛℝℕℙ"
    + "".join(chr(c) for first, end in ALPHABETS for c in range(first, end))
)


def write(path: Path) -> None:
    """Write the subset, with the larger variants of brackets and sums."""
    import ziamath

    source = Path(ziamath.__file__).parent / "fonts" / "STIXTwoMath-Regular.ttf"
    options = subset.Options(flavor="woff", layout_features=["ssty"], hinting=False)
    font = subset.load_font(str(source), options)
    subsetter = subset.Subsetter(options)
    subsetter.populate(text=CHARACTERS)
    subsetter.subset(font)
    path.parent.mkdir(parents=True, exist_ok=True)
    subset.save_font(font, str(path), options)


def finish(app, error):
    if error is None and app.builder.format == "html":
        write(Path(app.outdir) / "_static" / "math.woff")


def setup(app):
    app.connect("build-finished", finish)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
