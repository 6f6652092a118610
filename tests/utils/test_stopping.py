# SPDX-License-Identifier: Apache-2.0
import os
import signal
import threading

import pytest

from monai_ronas.utils import Stopped, raise_if_stopped, stop_signals, unstopped, write_atomically

SIGNALS = [signal.SIGTERM, signal.SIGUSR1]


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_raises_and_earlier_handlers_come_back(number):
    earlier = [signal.getsignal(n) for n in SIGNALS]
    with pytest.raises(Stopped, match=f"^{number.name}$"), stop_signals(), stop_signals():
        signal.raise_signal(number)
    assert [signal.getsignal(n) for n in SIGNALS] == earlier
    raise_if_stopped()  # it is over


def test_nothing_changes_in_another_thread_or_for_an_ignored_signal():
    found = []

    def look():
        with stop_signals(), unstopped():
            found.append(signal.getsignal(signal.SIGUSR1))

    earlier = signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    try:
        with stop_signals():
            signal.raise_signal(signal.SIGUSR1)
        thread = threading.Thread(target=look)
        thread.start()
        thread.join()
    finally:
        signal.signal(signal.SIGUSR1, earlier)
    assert found == [signal.SIG_IGN]


def test_a_signal_waits_until_a_file_is_written(tmp_path):
    def write(file):
        file.write(b"whole")
        signal.raise_signal(signal.SIGTERM)
        file.write(b" file")

    with pytest.raises(Stopped), stop_signals():
        write_atomically(tmp_path / "file", write)
    assert (tmp_path / "file").read_bytes() == b"whole file"
    assert len(list(tmp_path.iterdir())) == 1


def test_an_exception_that_others_swallow_is_raised_again():
    def swallow():
        for raises in (lambda: signal.raise_signal(signal.SIGUSR1), raise_if_stopped):
            with pytest.raises(Stopped, match="SIGUSR1"):
                raises()

    with pytest.raises(Stopped, match="SIGUSR1"), stop_signals():
        swallow()


def test_an_exception_that_others_have_turned_into_their_own_comes_back():
    def turned():
        try:
            signal.raise_signal(signal.SIGTERM)
        except Stopped:
            raise RuntimeError("of a compiler") from None

    with pytest.raises(Stopped, match="SIGTERM"), stop_signals():
        turned()
    with pytest.raises(RuntimeError, match="compiler"), stop_signals():
        raise RuntimeError("of a compiler")


def test_a_process_that_inherits_the_handler_dies_of_the_signal():
    with stop_signals():
        child = os.fork()
        if not child:
            os.kill(os.getpid(), signal.SIGTERM)
            os._exit(0)
        _, status = os.waitpid(child, 0)
    assert os.WTERMSIG(status) == signal.SIGTERM
