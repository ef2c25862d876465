"""The page of `srnn-tf app`: models that are heard, seen and compared, on files of one's own.

`limits` bounds what is accepted, `models` opens models, `uploads` reads files, `surprise` scores
them, `markup` writes pictures and players as HTML that needs no other file, `replies` answers each
button, and `page` puts them on a page of Gradio, the only module that needs it.
"""
