"""Division of images into shards, which is the same for everyone."""

from __future__ import annotations

from featx.extraction._plan import ImageTask
from featx.extraction._shard_tasks import ShardTask, divide_into_shards


def images(*copies: int) -> list[ImageTask]:
    """Make one image with so many copies for each number."""
    return [ImageTask(f"{n}.png", f"{n:064x}", tuple(range(c))) for n, c in enumerate(copies)]


def sizes(tasks: list[ShardTask]) -> list[list[int]]:
    return [[len(image.copies) for image in task.images] for task in tasks]


class TestNewCache:
    def test_fills_shards_without_dividing_an_image(self) -> None:
        all_ = images(3, 3, 3, 1, 1, 1)
        tasks = divide_into_shards(all_, all_, 7, "f")
        assert sizes(tasks) == [[3, 3], [3, 1, 1, 1]]
        assert [image for task in tasks for image in task.images] == all_
        assert [task.rows for task in tasks] == [6, 6]

    def test_an_image_larger_than_a_shard_has_its_own(self) -> None:
        all_ = images(1, 5, 5, 1)
        assert sizes(divide_into_shards(all_, all_, 4, "f")) == [[1], [5], [5], [1]]

    def test_nothing_is_no_shard(self) -> None:
        assert divide_into_shards([], [], 10, "f") == []

    def test_names_differ_by_rows_and_by_settings(self) -> None:
        all_ = images(1, 1, 1)
        names = {
            task.name
            for fingerprint in "fg"
            for task in divide_into_shards(all_, all_, 1, fingerprint)
        }
        assert len(names) == 6


class TestPartOfACache:
    def test_shards_that_are_wholly_missing_are_those_of_a_new_cache(self) -> None:
        all_ = images(*[2, 1] * 20)
        whole = divide_into_shards(all_, all_, 7, "f")
        for done in ({0}, {1, 3}, {0, 2, 4}):
            missing = [i for n, task in enumerate(whole) if n not in done for i in task.images]
            expected = [task for n, task in enumerate(whole) if n not in done]
            assert divide_into_shards(all_, missing, 7, "f") == expected

    def test_single_images_from_many_shards_are_packed_together(self) -> None:
        all_ = images(*[1] * 12)
        missing = [all_[n] for n in (0, 5, 10)]
        assert [task.images for task in divide_into_shards(all_, missing, 4, "f")] == [
            tuple(missing)
        ]

    def test_every_missing_row_is_packed_once(self) -> None:
        all_ = images(*[3, 1, 2] * 9)
        missing = [
            ImageTask(image.path, image.sha256, image.copies[n % 2 :])
            for n, image in enumerate(all_)
            if image.copies[n % 2 :]
        ]
        packed = [
            image for task in divide_into_shards(all_, missing, 5, "f") for image in task.images
        ]
        assert sorted(packed, key=lambda image: image.path) == sorted(
            missing, key=lambda image: image.path
        )
