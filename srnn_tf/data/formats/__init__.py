"""Readers and writers of files: sound, MIDI, piano rolls, pen strokes."""
