"""HTML pages about finished runs: each is one file with everything inside, to be sent as it is.

`page.build_report` writes the page about one run and `comparison.build_comparison` the page about several. Both read
the directory of a run through `run.FinishedRun`, and fill the templates in `templates/` through `render`. The parts of
a page have a module each: `samples` and `tracks` (players and spectrograms), `tables` (scores), `phones` (heat map),
`curves` and `charts`, `facts` (the model, also for `vqaudio info`). `embed` turns sound and pictures into data URIs.
"""
