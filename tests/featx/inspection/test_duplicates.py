"""Images that look the same: linked, and not every pair of them listed."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from featx.data import Manifest
from featx.data._links import linked
from featx.inspection._duplicates import (
    LARGEST_DISTANCE,
    NAMES_IN_EXAMPLE,
    SMALLEST_CORRELATION,
    check_duplicates,
    correlation,
    near_pairs,
)
from featx.inspection._measure_images import Measurements


def measured(thumbnail: NDArray[np.uint8], phash: NDArray[np.uint64]) -> Measurements:
    count = len(phash)
    low, high = np.zeros(count, np.float32), np.full(count, 255, np.float32)
    return Measurements(thumbnail, phash, low, high, np.ones(count, np.int64), {})


def lookalikes(random: np.random.Generator, count: int, noise: int) -> Measurements:
    """Make images that are one image, a little noise, and one bit of the hash."""
    base = random.integers(0, 256, (32, 32))
    thumbnail = (base + random.integers(-noise, noise + 1, (count, 32, 32))).clip(0, 255)
    bits = np.uint64(1) << random.integers(0, 64, count).astype(np.uint64)
    return measured(thumbnail.astype(np.uint8), random.integers(0, 2**63, dtype=np.uint64) ^ bits)


def names(count: int) -> list[str]:
    return [f"{number:064x}" for number in range(count)]


def manifest(split: list[str], label: list[str], group: list[str], sha256: list[str]) -> Manifest:
    columns = {"split": split, "label": label, "group": group, "sha256": sha256}
    table = pd.DataFrame({"path": [f"{i}.png" for i in range(len(split))], **columns})
    return Manifest(Path(), table, ("NORMAL", "PNEUMONIA"), {})


class TestLinks:
    def test_join_what_all_pairs_would_join(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("featx.inspection._duplicates._ROWS_AT_ONCE", 7)
        monkeypatch.setattr("featx.inspection._duplicates._PAIRS_AT_ONCE", 5)
        random = np.random.default_rng(0)
        # Noise so strong that not all of those of one kind correlate enough.
        kinds = [lookalikes(random, 25, noise) for noise in (3, 18, 26, 30)]
        order = random.permutation(100)
        every = measured(
            np.concatenate([each.thumbnail for each in kinds])[order],
            np.concatenate([each.phash for each in kinds])[order],
        )
        sha256 = names(100)
        sha256[40:50] = sha256[:10]
        pairs = np.array(list(itertools.combinations(range(100), 2)))
        one, other = pairs.T
        flat = every.thumbnail.reshape(100, -1)
        alike = np.bitwise_count(every.phash[one] ^ every.phash[other]) <= LARGEST_DISTANCE
        alike &= correlation(flat[one], flat[other]) >= SMALLEST_CORRELATION
        first = {name: number for number, name in reversed(list(enumerate(sha256)))}
        # Only the first of equal files is looked at.
        looked = [first[sha256[i]] == i and first[sha256[j]] == j for i, j in pairs.tolist()]
        expected = linked([sha256], pairs[alike & looked].tolist())
        links = near_pairs(every, sha256)
        np.testing.assert_array_equal(linked([sha256], links), expected)
        assert len(links) == len(set(sha256)) - len(np.unique(expected))
        assert 4 < len(np.unique(expected)) < 90
        assert all(i < j for i, j in links)

    @pytest.mark.usefixtures("unharmed")
    def test_thousands_of_one_image_take_little_memory(self) -> None:
        links = near_pairs(lookalikes(np.random.default_rng(0), 5000, 3), names(5000))
        assert len(links) == 4999


class TestSets:
    def test_a_set_is_counted_once_however_many_pairs_it_has(self) -> None:
        data = manifest(
            ["train"] * 9 + ["test"], ["NORMAL"] * 10, [f"p{i}" for i in range(10)], names(10)
        )
        (finding,) = check_duplicates(data, [(0, other) for other in range(1, 10)])
        assert (finding.check, finding.count) == ("near-duplicates-across-splits", 1)
        assert finding.details["groups"] == [[f"{i}.png" for i in range(10)]]
        assert finding.examples[0].count(" = ") == NAMES_IN_EXAMPLE
        assert finding.examples[0].endswith(" = 4 more")

    def test_two_that_no_link_names_are_found_through_others(self) -> None:
        """0 and 1 are of one patient; 2 looks like 0 and, by way of it, like 1."""
        data = manifest(["train", "test", "train"], ["NORMAL"] * 3, ["p0", "p0", "p2"], names(3))
        (finding,) = check_duplicates(data, [(0, 1), (0, 2)])
        assert finding.details["groups"] == [["0.png", "1.png", "2.png"]]

    def test_equal_files_stand_beside_the_one_that_was_looked_at(self) -> None:
        data = manifest(
            ["train"] * 3, ["NORMAL", "NORMAL", "PNEUMONIA"], ["a", "b", "c"], ["x", "x", "y"]
        )
        disputed, harmless = check_duplicates(data, [(0, 2)])
        assert disputed.check == "near-duplicates-with-different-labels"
        assert disputed.details["groups"] == [["0.png", "1.png", "2.png"]]
        assert harmless.count == 1

    def test_two_views_of_one_patient_are_that_patients_fault(self) -> None:
        data = manifest(["train", "test"], ["NORMAL"] * 2, ["p", "p"], names(2))
        assert check_duplicates(data, [(0, 1)]) == []


def test_images_that_are_all_gone_look_like_nothing() -> None:
    gone = measured(np.zeros((2, 32, 32), np.uint8), np.zeros(2, np.uint64))
    gone.high[:] = 0
    assert near_pairs(gone, names(2)) == []
