import os
from pathlib import Path

import pytest

from adsyncd.host import process_usage
from adsyncd.host.process_usage import ProcessUsage


def test_memory_files_and_cpu_time_are_those_of_this_process(tmp_path: Path) -> None:
    before = process_usage.process_usage()
    assert before.files is not None
    assert before.memory is not None
    held = [(tmp_path / str(number)).open("w") for number in range(20)]
    memory = bytearray(os.urandom(1) * 64 * 2**20)
    while (after := process_usage.process_usage()).user_s <= before.user_s:
        sum(range(100_000))
    assert after.files == before.files + len(held)
    assert after.memory is not None
    assert after.memory > before.memory + len(memory) / 2
    assert after.system_s >= before.system_s
    for file in held:
        file.close()


def test_what_proc_does_not_tell_is_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process_usage, "_SELF", tmp_path)
    used = process_usage.process_usage()
    assert used == ProcessUsage(used.user_s, used.system_s, None, None)
