"""Bytes to arrays, and back: sound, MIDI files, piano rolls, strokes of a pen."""
