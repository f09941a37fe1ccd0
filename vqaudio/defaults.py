"""Names and numbers that the command line shows and the library uses; nothing heavy is imported here."""

from typing import Literal

SEED = 0
"""Of sampling."""

TEMPERATURE = 1.0
"""Of sampling."""

Weights = Literal["float32", "bfloat16"]
"""Precisions of the decoder's weights while sampling on a CPU."""

WEIGHTS: Weights = "float32"
"""Precision of the decoder's weights while sampling."""

UNIT_FORMATS = ("vqaudio", "fairseq", "gslm", "jsonl", "discophon", "espnet", "parquet", "textgrid", "lhotse")
"""Formats of units: a unit directory, and the files of other tools."""

FEATURES = ("mfcc", "mfcc-stacked", "log-mel", "hf", "npy")
"""Features for k-means: three kinds computed from audio, those of a network of transformers, and .npy files."""

PRECISIONS = ("float32", "bfloat16", "float16")
"""Of the products of matrices in such a network."""

KMEANS_FRAMES = 300_000
"""Frames that k-means clusters at most."""

CHANGE_PENALTIES = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0)
"""Of `evaluate curve`."""
