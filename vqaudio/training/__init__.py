"""Everything that only training needs; inference imports nothing from here.

`app` is the Hydra application, `settings` checks its configuration, and `loop` is what it runs: batches from `dataset`
(with `recordings`), losses from `objective` (with `heads`), phases and learning rates from `schedule`, `optimizer`,
`weight_average`, logs by `tracking`, and `state` to resume from.
"""
