"""What the tests of `prepare` look at."""

from srnn_tf.data import corpora


def content(folder):
    """The bytes of all files, by name."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def counted(monkeypatch):
    """A list that grows by the key of every file of timit that is read."""
    read, reader = [], corpora.CORPORA["timit"].read

    def counting(item, options):
        read.append(item.key)
        return reader(item, options)

    counting_corpus = corpora.Corpus(**{**vars(corpora.CORPORA["timit"]), "read": counting})
    monkeypatch.setitem(corpora.CORPORA, "timit", counting_corpus)
    return read


def beside(folder):
    """What lies beside a prepared folder, hidden files too."""
    return sorted(p.name for p in folder.parent.iterdir())
