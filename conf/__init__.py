"""The Hydra configuration tree, installed as the package `vqaudio.conf`."""
