"""What this process has used so far. Run as a script: the same of an interpreter that has imported nothing of ours."""

from __future__ import annotations

import resource


def cpu_seconds() -> float:
    """CPU time of all threads, user and system."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def memory(pid: int | str = "self") -> dict[str, int]:
    """Resident KiB and threads of a process (Linux)."""
    with open(f"/proc/{pid}/status") as lines:
        fields = dict(line.split(":", 1) for line in lines)
    return {"rss_kib": int(fields["VmRSS"].split()[0]), "threads": int(fields["Threads"])}


if __name__ == "__main__":
    import json

    print(json.dumps(memory()))
