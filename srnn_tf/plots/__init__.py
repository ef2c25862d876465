"""Plots of training curves, of latents, and of sequences."""

from srnn_tf.plots.curves import frame_values, latent_usage, step_scores, training_curve, waveform
from srnn_tf.plots.pianorolls import plot_pianoroll
from srnn_tf.plots.preview import SOUNDS, Preview
from srnn_tf.plots.samples import PICTURES, draw
from srnn_tf.plots.spectra import spectrogram
from srnn_tf.plots.strokes import draw_strokes
from srnn_tf.plots.timelines import panels

__all__ = [
    "PICTURES",
    "Preview",
    "SOUNDS",
    "draw",
    "draw_strokes",
    "frame_values",
    "latent_usage",
    "panels",
    "plot_pianoroll",
    "spectrogram",
    "step_scores",
    "training_curve",
    "waveform",
]
