"""Kaldi data directories: read, written, validated, repaired, reduced to a subset and split.

Files are UTF-8 with LF and one "key value…" line per key, sorted as under LC_ALL=C: wav.scp, utt2spk and spk2utt, and
optionally segments, text, utt2dur, spk2gender, reco2dur and phones.ctm (https://kaldi-asr.org/doc/data_prep.html).
"""

from vqaudio.datadir.findings import Problems
from vqaudio.datadir.repair import fix
from vqaudio.datadir.splitting import split
from vqaudio.datadir.stream import Listed, Manifest, read_audio_list, read_utterances
from vqaudio.datadir.subset import copy_subset, read_optional
from vqaudio.datadir.tables import Phone, Utterance, read_ctm, read_table, write_ctm, write_table
from vqaudio.datadir.utterances import read_wav_scp, write_utterances
from vqaudio.datadir.validation import validate

__all__ = [
    "Listed",
    "Manifest",
    "Phone",
    "Problems",
    "Utterance",
    "copy_subset",
    "fix",
    "read_audio_list",
    "read_ctm",
    "read_optional",
    "read_table",
    "read_utterances",
    "read_wav_scp",
    "split",
    "validate",
    "write_ctm",
    "write_table",
    "write_utterances",
]
