"""The page of `srnn-tf app`, made with Gradio: on this machine alone, with nothing from elsewhere.

Files of a session are in its state, in memory; answers are HTML with all that they show. Gradio
writes what is sent to a folder of its own, from which `uploads.take` removes it at once; the folder
goes when the page ends.
"""

from __future__ import annotations

import os
import signal
import tempfile
import threading
from collections.abc import Callable
from typing import Any

from srnn_tf import zoo
from srnn_tf.app import limits, markup, models, replies, uploads

HOST = "127.0.0.1"
_FONTS = ("system-ui", "-apple-system", "Segoe UI", "Helvetica", "Arial", "sans-serif")
_FIXED = ("ui-monospace", "Menlo", "Consolas", "monospace")
_CSS = """
.gradio-container { max-width: 1100px !important; margin: 0 auto !important; }
.srnn-answer { display: flow-root; }
.srnn-answer h3 { margin: 0.8em 0 0.4em; font-size: 1.05em; overflow-wrap: anywhere; }
.srnn-answer p { margin: 0.5em 0; overflow-wrap: anywhere; }
.srnn-answer audio { display: block; width: 100%; max-width: 520px; margin: 0.4em 0; }
.srnn-picture { width: 100%; background: white; border-radius: 6px; padding: 6px;
  box-sizing: border-box; }
.srnn-scroll { overflow-x: auto; contain: inline-size; }
.srnn-answer table { border-collapse: collapse; margin: 0.6em 0; width: 100%; }
.srnn-answer table, .srnn-answer tr { border: 0 !important; }
.srnn-answer th, .srnn-answer td { text-align: left !important; padding: 4px 16px 4px 0 !important;
  white-space: nowrap; border: 0 !important; font-size: 0.95em;
  border-bottom: 1px solid var(--border-color-primary) !important; }
.srnn-answer td { font-variant-numeric: tabular-nums; }
.srnn-moments { padding-left: 1.6em; list-style: decimal; }
.srnn-moments li { margin: 0.4em 0; }
.srnn-misfit, .srnn-notice { border-left: 4px solid #c2410c; padding: 6px 12px;
  background: color-mix(in srgb, #c2410c 10%, transparent); overflow-wrap: anywhere; }
.srnn-small { font-size: 0.9em; opacity: 0.8; }
.srnn-answer a { text-decoration: underline; }
"""
_QUIET = {
    "GRADIO_ANALYTICS_ENABLED": "False",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_OFFLINE": "1",
}


def serve(port: int | None = None) -> None:
    """Show the page until the process is interrupted or ended.

    Args:
        port: the port; by default 7860, or the next that is free.

    Raises:
        ImportError: gradio is not installed.
        OSError: the port is not free.
        ValueError: no published model is on this machine.
    """
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _end)  # so that the folder goes then, too
    with tempfile.TemporaryDirectory(prefix="srnn_tf-app-", ignore_cleanup_errors=True) as folder:
        # Before the first import of Gradio, which reads them then.
        os.environ.update(_QUIET, GRADIO_TEMP_DIR=folder)
        page = build()
        try:
            try:
                _, address, _ = page.launch(**options(port))
            except OSError as error:
                which = f"port {port} is" if port else "ports 7860 to 7959 are"
                raise OSError(f"{which} not free; choose another with --port") from error
            print(f"listening on {address.rstrip('/')}, until Ctrl-C", flush=True)
            threading.Event().wait()
        finally:
            page.close(verbose=False)


def _end(number: int, frame: Any) -> None:
    raise SystemExit(128 + number)


def options(port: int | None = None) -> dict[str, Any]:
    """How the page is served: from loopback alone, bounded, without what Gradio adds to a page."""
    import gradio

    return {
        "server_name": HOST,
        "server_port": port,
        "share": False,
        "prevent_thread_lock": True,
        "quiet": True,
        "inbrowser": False,
        "show_error": True,
        "footer_links": [],
        "run_history": False,
        "enable_monitoring": False,
        "mcp_server": False,
        "ssr_mode": False,
        "pwa": False,
        "num_workers": 0,
        "state_session_capacity": limits.MOST_SESSIONS,
        "max_file_size": limits.MOST_BYTES,
        "theme": gradio.themes.Default(font=_FONTS, font_mono=_FIXED),
        "css": _CSS,
    }


def build() -> Any:
    """The page, as `gradio.Blocks`.

    Raises:
        ImportError: gradio is not installed.
        ValueError: no published model is on this machine.
    """
    import gradio as gr

    all_choices = models.choices()
    if not all_choices:
        raise ValueError("there is no published model on this machine; `srnn-tf list` names some")
    labels = [(choice.label, choice.name) for choice in all_choices]
    first = all_choices[0]
    waits = {"concurrency_id": "model", "concurrency_limit": 1}  # one request of all at a time
    with gr.Blocks(title="srnn_tf", analytics_enabled=False, delete_cache=(60, 60)) as page:
        upload = gr.State(None, time_to_live=limits.SESSION_SECONDS)
        gr.Markdown("# srnn_tf\nHear what a model makes up, and see what surprises it in a file.")
        name = gr.Dropdown(labels, value=first.name, label="Model", elem_id="model")
        about = gr.Markdown(_about(first.name), elem_id="about")
        with gr.Row():
            length = gr.Slider(**_length(first.kind), step=1, elem_id="length")
            seed = gr.Number(0, label="Seed", precision=0, minimum=0, elem_id="seed")
            low, high = limits.TEMPERATURES
            temperature = gr.Slider(
                low, high, value=1.0, step=0.05, label="Temperature", elem_id="temperature"
            )
        with gr.Tab("Sample"):
            draw = gr.Button("Draw a sample", variant="primary", elem_id="draw")
            sample = gr.HTML(elem_id="sample")
        with gr.Tab("A file of yours"):
            drop = gr.File(
                label=f"Drop a MIDI, WAV or strokes file, up to {limits.MOST_BYTES >> 20} MB",
                elem_id="drop",
                height=130,
            )
            # Gradio's own makes an empty file at each call, which stays.
            drop.preprocess = lambda payload: None if payload is None else payload.path
            note = gr.Markdown("", elem_id="note")
            with gr.Row():
                score = gr.Button("Score it", variant="primary", elem_id="score")
                go_on = gr.Button("Continue it", elem_id="go_on")
            scored = gr.HTML(elem_id="scored")
            continued = gr.HTML(elem_id="continued")
            with gr.Row(equal_height=True):
                other = gr.Dropdown(
                    **_others(first.name), label="Compare with", elem_id="other", scale=3
                )
                compare = gr.Button("Compare the two models", elem_id="compare", scale=1)
            compared = gr.HTML(elem_id="compared")

        def switch(chosen: str) -> tuple[Any, ...]:
            kind = models.chosen(chosen).kind
            return _about(chosen), gr.Slider(**_length(kind)), gr.Dropdown(**_others(chosen))

        def receive(path: str | None) -> tuple[Any, ...]:
            """The new file, of this session; what was told of the one before goes."""
            try:
                taken = uploads.take(path)
            except Exception as error:
                return None, None, "", markup.notice(replies.words(error)), "", ""
            return taken, None, _escaped(replies.received(taken)), "", "", ""

        def score_new(chosen: str, taken: Any, shown: str) -> str:
            return replies.score(chosen, taken) if taken is not None else shown

        name.change(switch, name, [about, length, other], queue=False, show_progress="hidden")
        received = drop.upload(
            receive, drop, [upload, drop, note, scored, continued, compared], queue=False
        )
        received.then(score_new, [name, upload, scored], scored, **waits)
        buttons: list[tuple[Any, Callable[..., str], list[Any], Any]] = [
            (draw, replies.sample, [name, seed, temperature, length], sample),
            (score, replies.score, [name, upload], scored),
            (go_on, replies.go_on, [name, upload, length, seed, temperature], continued),
            (compare, replies.compare, [name, other, upload], compared),
        ]
        for button, answer, given, where in buttons:
            button.click(answer, given, where, **waits)
    return page.queue(max_size=limits.MOST_WAITING)


def _about(name: str) -> str:
    return _escaped(models.about(zoo.card(name)))


def _length(kind: str) -> dict[str, Any]:
    of = limits.length_of(kind)
    return {"minimum": 1, "maximum": of.most, "value": of.usual, "label": f"Length ({of.unit})"}


def _others(name: str) -> dict[str, Any]:
    """The models to compare one with."""
    others = [choice for choice in models.of_kind(models.chosen(name).kind) if choice.name != name]
    labels = [(choice.label, choice.name) for choice in others]
    return {"choices": labels, "value": others[0].name if others else None}


def _escaped(text: str) -> str:
    """Text as Markdown that shows it as it is."""
    return "".join(f"\\{c}" if c in r"\`*_{}[]()<>#+-.!|~$" else c for c in text)
