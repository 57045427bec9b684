"""The stream that a thread's push-pulls follow, as torch.cuda.stream chooses one."""

import contextlib
import threading

_chosen = threading.local()


def current_stream():
    """The stream that this thread has chosen, or None: then what it does is done when the call returns."""
    chosen = getattr(_chosen, "streams", None)
    return chosen[-1] if chosen else None


@contextlib.contextmanager
def stream(chosen):
    """Chooses a stream for what this thread does inside."""
    streams = _chosen.__dict__.setdefault("streams", [])
    streams.append(chosen)
    try:
        yield chosen
    finally:
        streams.pop()
