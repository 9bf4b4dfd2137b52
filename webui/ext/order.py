"""The order in which extensions run: the graph of `after` and `before`, then the `order` number, then the id."""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence

from packaging.requirements import Requirement

from webui.ext.manifest import Manifest


def running_order(manifests: Sequence[Manifest]) -> tuple[str, ...]:
    """Ids in running order, the same every run. Who stands in a cycle, or behind one, is left out.

    A needed extension runs before the one that needs it. Ids that are not among the manifests are ignored.
    """
    earlier = _earlier(manifests)
    number = {manifest.id: manifest.order.order for manifest in manifests}
    ready = [(number[id], id) for id, waits in earlier.items() if not waits]
    heapq.heapify(ready)
    done: list[str] = []
    while ready:
        _number, id = heapq.heappop(ready)
        done.append(id)
        for other, waits in earlier.items():
            if id in waits:
                waits.remove(id)
                if not waits:
                    heapq.heappush(ready, (number[other], other))
    return tuple(done)


def cycles(manifests: Sequence[Manifest]) -> Mapping[str, tuple[str, ...]]:
    """id -> the ids of the cycle it stands in, in the order in which they wait for each other, from this id on."""
    earlier = _earlier(manifests)
    return {id: way for id in earlier if (way := _way_back(id, earlier))}


def needed(manifest: Manifest) -> tuple[str, ...]:
    """The ids that an extension cannot do without."""
    return tuple(id_of(text) for text in manifest.dependencies.extensions)


def id_of(requirement: str) -> str:
    """ "canny>=1.2" -> "canny"."""
    return Requirement(requirement).name


def _earlier(manifests: Sequence[Manifest]) -> dict[str, set[str]]:
    """id -> the ids that must run before it."""
    earlier: dict[str, set[str]] = {manifest.id: set() for manifest in manifests}
    for manifest in manifests:
        optional = (id_of(text) for text in manifest.dependencies.optional)
        earlier[manifest.id].update(manifest.order.after, needed(manifest), optional)
        for later in manifest.order.before:
            earlier.setdefault(later, set()).add(manifest.id)
    present = {manifest.id for manifest in manifests}
    return {id: waits & present for id, waits in earlier.items() if id in present}


def _way_back(start: str, earlier: Mapping[str, set[str]]) -> tuple[str, ...]:
    """The shortest way from an id over what it waits for back to itself; () where there is none."""
    ways: list[tuple[str, ...]] = [(start,)]
    seen: set[str] = set()
    while ways:
        way = ways.pop(0)
        for id in sorted(earlier[way[-1]]):
            if id == start:
                return way
            if id not in seen:
                seen.add(id)
                ways.append((*way, id))
    return ()
