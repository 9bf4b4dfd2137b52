"""Whose job comes next: round robin over owners, first come first served within one."""

from __future__ import annotations

from collections import OrderedDict, deque


class Turns:
    """Job ids that wait. Not safe from several threads by itself."""

    def __init__(self) -> None:
        self._queues: OrderedDict[str, deque[str]] = OrderedDict()

    def __len__(self) -> int:
        return sum(len(queue) for queue in self._queues.values())

    def count(self, owner: str) -> int:
        """How many jobs of this owner wait."""
        return len(self._queues.get(owner, ()))

    def add(self, owner: str, job_id: str) -> None:
        """Wait behind the owner's other jobs; an owner who is new stands behind all the others."""
        self._queues.setdefault(owner, deque()).append(job_id)

    def next(self) -> str | None:
        """Take the job whose turn it is; its owner then stands behind all the others. None: nothing waits."""
        if not self._queues:
            return None
        owner, queue = self._queues.popitem(last=False)
        job_id = queue.popleft()
        if queue:
            self._queues[owner] = queue
        return job_id

    def remove(self, owner: str, job_id: str) -> bool:
        """Leave the queue; False when the job does not wait."""
        queue = self._queues.get(owner)
        if queue is None or job_id not in queue:
            return False
        queue.remove(job_id)
        if not queue:
            del self._queues[owner]
        return True

    def order(self) -> list[str]:
        """All waiting jobs as their turns would come if nothing were added."""
        queues = [list(queue) for queue in self._queues.values()]
        rounds = max(map(len, queues), default=0)
        return [queue[turn] for turn in range(rounds) for queue in queues if turn < len(queue)]
