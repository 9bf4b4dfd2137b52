"""For all tests: no example of hypothesis has a deadline, because a busy machine is no fault of the code.

Browser tests come last: Playwright keeps an event loop running in the thread of the tests until the session ends, and
no test after it could use asyncio there. The quick tests have spoken by then, too.

Ctrl-C works in the tests' programs, also where the tests run in the background of a shell, which takes it away.

What imports have made is kept out of the sight of the garbage collector, at the start of every file: whatever unloads
a model or an extension collects, and each time it would look through some 700 000 objects that stay until the end.
"""

import gc
import signal

import pytest
from hypothesis import settings

settings.register_profile("atelier", deadline=None)
settings.load_profile("atelier")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.get_closest_marker("browser") is not None)


@pytest.fixture(scope="module", autouse=True)
def _what_stays_is_not_looked_through() -> None:
    gc.collect()
    gc.freeze()
