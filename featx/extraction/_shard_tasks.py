"""Shards to make: images are divided alike by every process that fills a cache."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from featx.extraction._plan import ImageTask, RowKey
from featx_cache._shards import RowKeys, shard_name


@dataclass(frozen=True, slots=True)
class ShardTask:
    """A shard to make, named by the fingerprint and its rows: the unit of work of every engine."""

    name: str
    images: tuple[ImageTask, ...]

    @property
    def rows(self) -> int:
        """Number of embeddings in the shard if every image can be read."""
        return sum(len(image.copies) for image in self.images)

    @classmethod
    def of(cls, images: Iterable[ImageTask], fingerprint: str) -> ShardTask:
        """Name a shard."""
        images = tuple(images)
        keys: list[RowKey] = [(i.sha256, copy) for i in images for copy in i.copies]
        return cls(shard_name(fingerprint, RowKeys.of(keys)), images)


def divide_into_shards(
    wanted: list[ImageTask], missing: list[ImageTask], rows_per_shard: int, fingerprint: str
) -> list[ShardTask]:
    """Divide the missing part of all wanted images and copies into shards.

    The shards of a new cache are always the same. Those that are wholly missing stay as they are,
    whatever is done already, so that processes that started at different times give the same work
    the same name. Other images are put together into further shards. The copies of an image are
    never divided.
    """
    home = {
        image.sha256: number
        for number, images in enumerate(_fill(wanted, rows_per_shard))
        for image in images
    }
    whole: dict[int, int] = defaultdict(int)
    for image in wanted:
        whole[home[image.sha256]] += len(image.copies)
    parts: dict[int, list[ImageTask]] = defaultdict(list)
    for image in missing:
        parts[home[image.sha256]].append(image)
    shards: list[list[ImageTask]] = []
    rest: list[ImageTask] = []
    for number, images in parts.items():
        complete = sum(len(image.copies) for image in images) == whole[number]
        (shards.append if complete else rest.extend)(images)
    shards += _fill(rest, rows_per_shard)
    return [ShardTask.of(images, fingerprint) for images in shards]


def _fill(images: list[ImageTask], rows_per_shard: int) -> list[list[ImageTask]]:
    """Fill shards in order, each with one image at least."""
    shards: list[list[ImageTask]] = []
    room = 0
    for image in images:
        if len(image.copies) > room:
            shards.append([])
            room = max(rows_per_shard, len(image.copies))
        shards[-1].append(image)
        room -= len(image.copies)
    return shards
