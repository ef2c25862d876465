"""Pictures, players, tables and files as HTML that needs no other file, so that none is stored."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

import numpy as np

from srnn_tf.data.formats.wav import wav_bytes
from srnn_tf.plots import figures

_DPI = 90


def block(*parts: str) -> str:
    """The answer of a button."""
    return f'<div class="srnn-answer">{"".join(parts)}</div>'


def notice(text: str) -> str:
    """An error, in words."""
    return f'<div class="srnn-notice" role="alert">{escape(text)}</div>'


def paragraph(text: str, kind: str = "") -> str:
    """A paragraph of text."""
    return f'<p class="{escape(kind)}">{escape(text)}</p>'


def heading(text: str) -> str:
    return f"<h3>{escape(text)}</h3>"


def picture(figure: Any, alt: str) -> str:
    """A figure of Matplotlib, with the text that says what it shows."""
    source = _url("image/png", figures.png(figure, dpi=_DPI))
    return f'<img class="srnn-picture" alt="{escape(alt)}" src="{source}"/>'


def player(samples: np.ndarray, rate: int, label: str) -> str:
    """A player of samples in [-1, 1]."""
    source = _url("audio/wav", wav_bytes(samples, sample_rate=rate))
    return f'<audio controls aria-label="{escape(label)}" src="{source}"></audio>'


def download(content: bytes, name: str) -> str:
    """A link that saves a file, whose content is in it."""
    source, shown = _url("application/octet-stream", content), escape(name)
    return f'<p>Save it: <a download="{shown}" href="{source}">{shown}</a></p>'


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of text."""
    top = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in head)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows
    )
    scroll = '<div class="srnn-scroll">'
    return f"{scroll}<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>"


def listed(items: Iterable[str]) -> str:
    """A numbered list of HTML."""
    return f'<ol class="srnn-moments">{"".join(f"<li>{item}</li>" for item in items)}</ol>'


def _url(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
