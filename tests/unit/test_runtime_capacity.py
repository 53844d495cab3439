"""How many calls a worker takes: by their number, by CPU and by memory, from what the kernel says of its container.

Faults of the SDK that these tests keep out: a load that is estimated for accepted requests (a burst is refused, or one
call too many is taken), a container whose CPU limit is below one CPU or absent, memory that counts for nothing.
"""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voiceagent_runtime import cgroup
from voiceagent_runtime.capacity import USABLE, Admission, Cordon, Load, Strain, Usage
from voiceagent_runtime.quantities import memory

GIB = 2**30


@given(
    st.integers(1, 20),
    st.lists(st.sampled_from(["request", "run", "fail", "end"]), max_size=80),
)
def test_requests_are_accepted_up_to_the_capacity_and_never_beyond(capacity: int, events: list[str]) -> None:
    """Against the plainest model: a call takes one place from acceptance to its end."""
    admission = Admission(capacity)
    pending: list[str] = []
    running: list[str] = []
    for number, event in enumerate(events):
        if event == "request":
            free = len(pending) + len(running) < capacity
            assert admission.admit(str(number), running) == (None if free else "full")
            if free:
                pending.append(str(number))
        elif event == "run" and pending:
            running.append(pending[0])  # for a moment it is both: it still counts once
            assert admission.sessions(running) == len(pending) + len(running) - 1
            admission.settle(pending.pop(0))
        elif event == "fail" and pending:
            admission.settle(pending.pop())
        elif event == "end" and running:
            running.pop()
        assert admission.sessions(running) == len(pending) + len(running) <= capacity


@pytest.mark.parametrize(
    ("state", "value", "reason"),
    [("cordon", Cordon(True), "cordoned"), ("draining", True, "draining"), ("broken", True, "broken")],
)
def test_a_worker_that_is_put_aside_refuses_calls_and_keeps_its_own(state: str, value: object, reason: str) -> None:
    admission = Admission(4)
    assert admission.admit("one", []) is None
    setattr(admission, state, value)
    assert admission.admit("two", []) == reason
    assert (admission.load([]), admission.sessions([])) == (1.0, 1)


@pytest.mark.parametrize(("calls", "most", "warm"), [(0, 3, 3), (1, 3, 3), (2, 3, 2), (4, 3, 1), (0, 0, 0), (4, 0, 0)])
def test_processes_are_kept_warm_for_calls_that_could_come_and_for_one_that_follows(
    calls: int, most: int, warm: int
) -> None:
    assert Admission(4).worth_keeping_warm(most, map(str, range(calls))) == warm


def test_a_full_worker_reports_the_load_that_keeps_calls_away() -> None:
    admission = Admission(2)
    assert [admission.load(running) for running in ([], ["a"], ["a", "b"])] == [0.0, 0.5, 1.0]
    assert admission.refusal(["a", "b"]) == "full"


@pytest.mark.parametrize(
    ("strain", "load", "refusal"),
    [
        (Strain(0.4, 0.2), 0.5, None),
        (Strain(0.7, 0.2), 0.7, None),
        (Strain(0.2, 0.8), 0.8, None),
        (Strain(1.1, 0.2), 1.0, "cpu"),
        (Strain(0.2, 1.0), 1.0, "memory"),
    ],
    ids=["calls-decide", "cpu-decides", "memory-decides", "out-of-cpu", "near-the-memory-limit"],
)
def test_the_fullest_of_calls_cpu_and_memory_decides(strain: Strain, load: float, refusal: str | None) -> None:
    admission = Admission(2)
    admission.strain = strain
    assert (admission.load(["a"]), admission.admit("b", ["a"])) == (load, refusal)
    assert admission.loads(["a"]) == Load(0.5, *strain) or refusal is None


def strained(busy_seconds: int, cpus: float | None, rate: float = 1.0) -> Strain:
    strain, before = Strain(), Usage(at=0.0, cpus=cpus)
    for second in range(1, busy_seconds + 1):
        now = Usage(at=float(second), cpu=rate * second, cpus=cpus)
        strain, before = strain.after(before, now), now
    return strain


def test_a_spike_of_cpu_refuses_nobody_and_a_lasting_want_of_it_does() -> None:
    assert strained(15, cpus=1.0).cpu < 0.5
    assert strained(40, cpus=1.0).cpu < 1.0
    assert strained(80, cpus=1.0).cpu >= 1.0
    assert strained(120, cpus=0.5, rate=0.25).cpu == pytest.approx(0.5 / USABLE, rel=0.05)


def test_cpu_time_that_nobody_limits_or_that_goes_back_counts_for_nothing() -> None:
    assert strained(60, cpus=None).cpu == 0
    before = Usage(at=1.0, cpu=5.0, cpus=1.0)
    assert Strain(0.3, 0.0).after(before, Usage(at=2.0, cpu=4.0, cpus=1.0)).cpu == 0.3
    assert Strain(0.3, 0.0).after(before, before).cpu == 0.3


def test_memory_counts_at_once_because_who_runs_out_of_it_is_killed() -> None:
    before = Usage(at=0.0)
    assert Strain().after(before, Usage(at=1.0, memory=9 * GIB, memory_limit=10 * GIB)).memory == pytest.approx(1.0)
    assert Strain(0.0, 0.9).after(before, Usage(at=1.0, memory=9 * GIB)).memory == 0


def group(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


UNIFIED = {
    "cgroup.controllers": "cpu memory\n",
    "cpu.stat": "usage_usec 12500000\nuser_usec 1\n",
    "memory.current": "900\n",
    "memory.stat": "anon 1\ninactive_file 300\n",
}
LEGACY = {
    "cpuacct/cpuacct.usage": "12500000000\n",
    "cpu/cpu.cfs_period_us": "100000\n",
    "memory/memory.usage_in_bytes": "900\n",
    "memory/memory.stat": "inactive_file 1\ntotal_inactive_file 300\n",
}


@pytest.mark.parametrize(
    ("files", "cpus", "limit"),
    [
        (UNIFIED | {"cpu.max": "50000 100000\n", "memory.max": "2000\n"}, 0.5, 2000),
        (UNIFIED | {"cpu.max": "max 100000\n", "memory.max": "max\n"}, 7.0, None),
        (UNIFIED, None, None),
        (LEGACY | {"cpu/cpu.cfs_quota_us": "50000\n", "memory/memory.limit_in_bytes": "2000\n"}, 0.5, 2000),
        (
            LEGACY | {"cpu/cpu.cfs_quota_us": "-1\n", "memory/memory.limit_in_bytes": "9223372036854771712\n"},
            None,
            None,
        ),
    ],
    ids=["v2", "v2-without-limits", "v2-no-container", "v1", "v1-without-limits"],
)
def test_the_container_is_read_from_both_versions_of_cgroups(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, str], cpus: float | None, limit: int | None
) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 7)
    read = cgroup.usage(group(tmp_path, files), tmp_path / "nowhere")
    assert (read.cpu, read.cpus, read.memory, read.memory_limit) == (12.5, cpus, 600, limit)
    assert cgroup.usage(tmp_path, tmp_path / "nowhere", num_cpus=3).cpus == 3


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_where_the_mount_shows_all_groups_the_workers_own_is_read(tmp_path: Path, version: str) -> None:
    root, own = tmp_path / "fs", tmp_path / "cgroup"
    if version == "v2":
        own.write_text("0::/pod/worker\n")
        mine = {f"pod/worker/{name}": text for name, text in UNIFIED.items()}
        group(root, mine | {"cgroup.controllers": "", "memory.current": "5", "pod/worker/memory.max": "2000"})
    else:
        own.write_text("4:memory:/pod/worker\n3:cpu,cpuacct:/pod/worker\n")
        mine = {name.replace("/", "/pod/worker/", 1): text for name, text in LEGACY.items()}
        group(root, mine | {"memory/pod/worker/memory.limit_in_bytes": "2000", "memory/memory.usage_in_bytes": "5"})
    read = cgroup.usage(root, own)
    assert (read.cpu, read.memory, read.memory_limit) == (12.5, 600, 2000)


def test_a_machine_without_cgroups_is_unknown_and_refuses_nobody(tmp_path: Path) -> None:
    read = cgroup.usage(tmp_path, tmp_path / "nowhere")
    assert Strain().after(read, read._replace(at=read.at + 1)) == Strain()


@pytest.mark.parametrize(
    ("text", "expected"),
    [("512Mi", 512 * 2**20), ("1.5Gi", 3 * 2**29), ("800M", 800_000_000), ("0", 0), (1024, 1024)],
)
def test_an_amount_of_memory_is_read_as_kubernetes_writes_it(text: object, expected: int) -> None:
    assert memory(text) == expected


@pytest.mark.parametrize("text", ["", "lots", "512 Mi", "-1Mi", "500m"])
def test_what_is_no_amount_of_memory_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match="such as 512Mi"):
        memory(text)
