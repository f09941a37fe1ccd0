"""Everything that training alone needs; inference imports nothing of it.

`app` is the Hydra application and `loop` what it runs: batches of `dataset`, losses of `objective`, `state` to resume.
"""
