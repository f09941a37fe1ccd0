"""File names out of ids: safe on every file system, and different for different ids."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vqaudio.names import MAX_BYTES, collisions, file_name


@pytest.mark.parametrize("name", ["p225_001", "19-198-0001", "Zoë", "a.b", "s+1=2,@x", "發音"])
def test_a_safe_id_names_its_file(name):
    assert file_name(name) == name


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("../../etc/passwd", "%2E.%2F..%2Fetc%2Fpasswd"),
        (".hidden", "%2Ehidden"),
        ("a\\b", "a%5Cb"),
        ("100%", "100%25"),
        ("a\x07b", "a%07b"),
        ("a\u2028b", "a%E2%80%A8b"),
        ("..", "%2E."),
    ],
)
def test_what_a_file_system_does_not_take_is_escaped(name, expected):
    assert file_name(name) == expected


def test_long_ids_are_cut_and_stay_apart():
    names = ["音" * 90 + tail for tail in "ab"]
    made = [file_name(name) for name in names]
    assert all(len(name.encode()) <= MAX_BYTES for name in made)
    assert len(set(made)) == 2


@given(st.lists(st.text(min_size=1), min_size=2, max_size=5, unique=True))
def test_different_ids_have_different_names_that_stay_in_the_folder(names):
    made = [file_name(name) for name in names]
    assert len(set(made)) == len(names)
    assert not any("/" in name or name.startswith(".") or "\0" in name for name in made)


def test_ids_that_differ_in_case_or_unicode_form_alone_collide():
    assert collisions(["p1", "P1", "p2"]) == [("p1", "P1")]
    assert collisions(["Zo\u00eb", "Zoe\u0308"]) == [("Zo\u00eb", "Zoe\u0308")]
    assert collisions(["a", "b", "ab"]) == []
