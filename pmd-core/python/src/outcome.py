"""What is in flight as awaitables: each event loop watches one bell, which lanes ring.

Run inside each extension module, which gives `Bell`.
"""

import asyncio
import itertools
import threading
import weakref

_loops = weakref.WeakKeyDictionary()
_lock = threading.Lock()


class _Waiting:
    """What one event loop waits for. The loop watches the bell only while there is something."""

    def __init__(self, loop):
        self._loop = weakref.ref(loop)
        self._bell = Bell()
        self._tokens = itertools.count()
        self._futures = {}

    async def outcome(self, pending):
        loop = self._loop()
        token, future = next(self._tokens), loop.create_future()
        if not self._futures:
            loop.add_reader(self._bell.fileno(), self._rung)
        self._futures[token] = future
        try:
            if pending._ring_when_done(self._bell, token):
                await future
            return pending.wait()
        except asyncio.CancelledError:
            pending.request_cancel()
            raise
        finally:
            del self._futures[token]
            if not self._futures:
                loop.remove_reader(self._bell.fileno())

    def _rung(self):
        for token in self._bell.take():
            future = self._futures.get(token)
            if future is not None and not future.done():
                future.set_result(None)


async def outcome(pending):
    """What `pending.wait()` gives. To cancel the task asks for `pending` to be stopped."""
    loop = asyncio.get_running_loop()
    with _lock:
        waiting = _loops.get(loop)
        if waiting is None:
            waiting = _loops[loop] = _Waiting(loop)
    return await waiting.outcome(pending)
