"""The training population: what is kept of it, and distances to it."""

from __future__ import annotations

from pathlib import Path
from unittest.mock import Mock

import h5py
import numpy as np
import pandas as pd
import pytest
from scipy import linalg
from scipy.spatial.distance import mahalanobis
from sklearn.covariance import LedoitWolf

from featx.errors import InputError
from featx.evaluation import Reference, average_over_grid

CHANNELS = 6


@pytest.fixture
def reference() -> Reference:
    random = np.random.default_rng(0)
    vectors = (random.normal(size=(500, CHANNELS)) * [1, 1, 1, 3, 3, 9]).astype(np.float32)
    table = pd.DataFrame(
        {
            "path": [f"{n}.png" for n in range(500)],
            "label": "NORMAL",
            "group": [f"p{n // 2}" for n in range(500)],
            "fold": np.arange(500) // 2 % 5,
            "score": 0.5,
        }
    )
    return Reference(vectors, table)


def test_averages_are_means_over_the_grid() -> None:
    grid = np.arange(2 * 3 * 3 * 4, dtype=np.float16).reshape(2, 3, 3, 4)
    assert np.array_equal(average_over_grid(grid), grid.astype(np.float32).mean(axis=(1, 2)))
    assert average_over_grid(grid).dtype == np.float32


def test_vectors_pass_through() -> None:
    vectors = np.ones((2, 5), np.float16)
    assert np.array_equal(average_over_grid(vectors), vectors)


def test_a_distance_is_mahalanobiss(reference: Reference) -> None:
    population = LedoitWolf().fit(reference.vectors.astype(float))
    new = np.array([[1, 2, 0, -3, 1, 20.0]])
    expected = mahalanobis(new[0], population.location_, population.precision_)
    assert reference.distance(new) == pytest.approx([expected], rel=1e-6)


def test_the_covariance_is_factorized_once_for_all_images(
    reference: Reference, monkeypatch: pytest.MonkeyPatch
) -> None:
    factorize = Mock(wraps=linalg.cho_factor)
    monkeypatch.setattr(linalg, "cho_factor", factorize)
    for image in reference.vectors[:5]:
        reference.distance(image[np.newaxis])
    factorize.assert_called_once()


def test_one_training_image_in_a_hundred_is_beyond_the_limit(reference: Reference) -> None:
    assert (reference.distances > reference.limit).sum() == 5


def test_new_images_of_the_same_population_are_beyond_the_limit_as_often() -> None:
    random = np.random.default_rng(1)
    scales = np.geomspace(1, 1000, 60)
    few = (scales * random.normal(size=(240, 60))).astype(np.float32)
    table = pd.DataFrame({"fold": np.arange(240) % 5})
    known = Reference(few, table)
    new = known.distance(scales * random.normal(size=(4000, 60)))
    assert 0.001 < np.mean(new > known.limit) < 0.05
    # In-sample distances would have been too short.
    assert np.median(known.distance(few)) < 0.97 * np.median(new)


def test_other_images_are_beyond_it(reference: Reference) -> None:
    assert (reference.distance(np.full((3, CHANNELS), 30.0)) > reference.limit).all()


def test_what_is_written_is_read_back(reference: Reference, tmp_path: Path) -> None:
    grid = np.random.default_rng(0).random((500, 2, 2, CHANNELS)).astype(np.float16)
    halves = [np.arange(0, 500, 2), np.arange(1, 500, 2)]
    Reference.write(tmp_path / "r.h5", ((half, grid[half]) for half in halves))
    read = Reference.read(tmp_path / "r.h5", reference.table)
    assert read.vectors == pytest.approx(average_over_grid(grid), abs=1e-3)
    assert read.mean is not None
    assert read.mean.dtype == np.float32
    assert read.mean == pytest.approx(grid.mean(axis=0, dtype=np.float64), abs=1e-6)


def test_embeddings_without_a_grid_have_no_average_grid(
    reference: Reference, tmp_path: Path
) -> None:
    Reference.write(tmp_path / "r.h5", iter([(np.arange(500), reference.vectors)]))
    assert Reference.read(tmp_path / "r.h5", reference.table).mean is None


def test_a_file_of_another_run_is_refused(reference: Reference, tmp_path: Path) -> None:
    with h5py.File(tmp_path / "r.h5", "w") as file:
        file["vectors"] = reference.vectors[:3]
    with pytest.raises(InputError, match=r"r\.h5 is damaged"):
        Reference.read(tmp_path / "r.h5", reference.table)


@pytest.mark.parametrize("content", [b"", b"no HDF5", b"\x89HDF\r\n\x1a\n" + b"x" * 99])
def test_a_damaged_file_is_refused(reference: Reference, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "r.h5").write_bytes(content)
    with pytest.raises(InputError, match=r"r\.h5 is damaged"):
        Reference.read(tmp_path / "r.h5", reference.table)
