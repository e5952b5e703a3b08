"""A cluster for tests: sbatch, srun, squeue, scancel, sacct, scontrol that run jobs as processes.

Called under one of these names, with FAKE_SLURM naming a folder. `plan.json` there says how the
cluster behaves:

    sbatch      complaints of the next calls; "took it: ..." submits the job all the same
    squeue      what the next calls do: "nonsense", "fails", "slow"
    slow_sbatch seconds that sbatch takes
    waits       {place: reason}: never starts ("*": all places; "" is the place of a single job)
    ends        {place: [state, signal, seconds]}: so ended by Slurm so long after its start
    vanishes    states in which jobs are in squeue's list no more
    requeued    {place: file}: ended by TERM when this file is there, and started again
    no_requeue  whether the site lets no job be put back into the queue
    accounting  whether sacct knows ended jobs
    max_array   MaxArraySize
"""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

HOME = Path(os.environ["FAKE_SLURM"])
PLAN = json.loads((HOME / "plan.json").read_text())
JOBS = HOME / "jobs"


def write(name: str, **values) -> None:
    """Change a job's record, whole."""
    path = JOBS / name
    record = read(name) if path.exists() else {}
    new = HOME / f".{name}.{os.getpid()}"
    new.write_text(json.dumps({**record, **values}))
    os.replace(new, path)


def read(name: str) -> dict:
    return json.loads((JOBS / name).read_text())


def next_of(what: str) -> str:
    """Take the next of the plan's complaints."""
    used = HOME / f"{what}.used"
    n = len(used.read_text()) if used.exists() else 0
    used.write_text("x" * (n + 1))
    listed = PLAN.get(what, [])
    return listed[n] if n < len(listed) else ""


def planned(what: str, place: str):
    return PLAN.get(what, {}).get(place, PLAN.get(what, {}).get("*"))


def run_once(name: str, script: str, place: str, environment: dict) -> None:
    """Run a job to its end, or to the one that is planned for it."""
    restarts = environment.get("SLURM_RESTART_COUNT")
    process = subprocess.Popen(["/bin/bash", script], env=environment, start_new_session=True)
    write(name, state="RUNNING", pid=process.pid, node="fake7")
    plan = planned("ends", place)
    awaited = planned("requeued", place) if restarts is None else None
    if plan or awaited:
        while awaited and not os.path.exists(awaited):
            time.sleep(0.05)
        time.sleep(plan[2] if plan else 0)
        os.killpg(process.pid, getattr(signal, plan[1]) if plan else signal.SIGTERM)
        if plan:
            (HOME / f"ended.{place}").write_text(str(time.time()))
            write(name, state=plan[0])
    code = process.wait()
    if awaited or read(name).get("again"):
        write(name, state="PENDING", reason="BeginTime", again=False)
        time.sleep(1.0)
        environment["SLURM_RESTART_COUNT"] = str(int(restarts or 0) + 1)
        run_once(name, script, place, environment)
    elif read(name)["state"] == "RUNNING":
        write(name, state="COMPLETED" if code == 0 else "FAILED")
    elif read(name)["state"] == "COMPLETING":
        write(name, state="CANCELLED")


def follow(name: str, script: str, place: str, exported: str) -> None:
    """Start a job in the background."""
    reason = planned("waits", place)
    write(name, state="PENDING", reason=reason or "None", script=script, node="", pid=0)
    if reason or os.fork():
        return
    os.setsid()
    null = os.open(os.devnull, os.O_RDWR)
    for stream in range(3):
        os.dup2(null, stream)
    keep = os.environ if exported == "ALL" else {"PATH": os.environ["PATH"]}
    environment = {**keep, "SLURM_JOB_ID": name.partition(".")[0]}
    if place:
        environment["SLURM_ARRAY_JOB_ID"] = environment["SLURM_JOB_ID"]
        environment["SLURM_ARRAY_TASK_ID"] = place
    run_once(name, script, place, environment)
    os._exit(0)


def places(words: list[str]) -> list[str]:
    if "--array" not in words:
        return [""]
    found = []
    for span in words[words.index("--array") + 1].partition("%")[0].split(","):
        first, _, last = span.partition("-")
        found += [str(n) for n in range(int(first), int(last or first) + 1)]
    if max(map(int, found)) >= PLAN.get("max_array", 1001):
        sys.exit("sbatch: error: Batch job submission failed: Invalid job array specification")
    return found


def sbatch(words: list[str]) -> None:
    time.sleep(PLAN.get("slow_sbatch", 0))
    complaint = next_of("sbatch")
    if complaint and not complaint.startswith("took it"):
        sys.exit(f"sbatch: error: {complaint}")
    with (HOME / "submitted").open("a") as file:
        file.write(json.dumps(words) + "\n")
    id = str(100 + len((HOME / "submitted").read_text().splitlines()))
    script = str(HOME / f"{id}.sh")  # Slurm keeps a copy
    Path(script).write_bytes(Path(words[-1]).read_bytes())
    exported = next((w[9:] for w in words if w.startswith("--export=")), "ALL")
    for place in places(words):
        write(f"{id}.{place}", given=words[-1])
        follow(f"{id}.{place}", script, place, exported)
    if complaint:
        sys.exit(f"sbatch: error: {complaint}")
    print("this site says hello\n" + id, flush=True)


def squeue(words: list[str]) -> None:
    asked = next_of("squeue")
    if asked == "fails":
        sys.exit("slurm_load_jobs error: Unable to contact slurm controller (connect failure)")
    if asked == "nonsense":
        sys.exit(print("<html>502 Bad Gateway</html>"))
    time.sleep(6 if asked == "slow" else 0)
    ids = words[words.index("-j") + 1].split(",") if "-j" in words else None
    for path in sorted(JOBS.iterdir()):
        id, _, place = path.name.partition(".")
        job = read(path.name)
        if ids is None:
            print(f"{id}|{job['given']}")
        elif id in ids and job["state"] not in PLAN.get("vanishes", []):
            print(f"{id}|{place or 'N/A'}|{job['state']}|{job['reason']}|{job['node']}")


def scancel(words: list[str]) -> None:
    for path in sorted(JOBS.iterdir()):
        job = read(path.name)
        if path.name.partition(".")[0] in words or path.name.replace(".", "_") in words:
            if "--signal=USR1" in words:
                os.kill(job["pid"], signal.SIGUSR1)  # --batch: the shell
                continue
            if job["state"] == "PENDING":
                write(path.name, state="CANCELLED")
            if job["state"] == "RUNNING":  # as in Slurm, until its processes have ended
                write(path.name, state="COMPLETING")
                os.killpg(job["pid"], signal.SIGTERM)


def sacct(words: list[str]) -> None:
    if not PLAN.get("accounting"):
        sys.exit("Slurm accounting storage is disabled")
    for path in sorted(JOBS.iterdir()):
        id, _, place = path.name.partition(".")
        job, name = read(path.name), f"{id}_{place}" if place else id
        by = " by 1000" if job["state"] == "CANCELLED" else ""
        print(f"{name}|{job['state']}{by}|{job['node']}")


def hostnames(nodes: str) -> list[str]:
    """Names such as gpu-a[01-03,07],b: lists in brackets, padded with zeros."""
    found = []
    for part in re.findall(r"[^,\[]+(?:\[[^]]*\])?", nodes):
        stem, _, spans = part.rstrip("]").partition("[")
        for span in spans.split(",") if spans else [""]:
            first, _, last = span.partition("-")
            wide = range(int(first), int(last or first) + 1) if span else [""]
            found += [stem + (str(n).zfill(len(first)) if span else "") for n in wide]
    return found


def srun(words: list[str]) -> None:
    """Each node's task is a process here; the first that fails ends all."""
    (HOME / "srun").write_text(json.dumps(words))
    nodes = next(int(w[8:]) for w in words if w.startswith("--nodes="))
    command = words[next(i for i, w in enumerate(words) if not w.startswith("--")) :]
    tasks = []
    for number in range(nodes):
        more = {"SLURM_PROCID": str(number), "SLURMD_NODENAME": f"node{number}"}
        environment = {**os.environ, **more}
        tasks.append(subprocess.Popen(command, stdin=subprocess.PIPE, env=environment))
    os.set_blocking(0, False)
    kill_at = None
    while any(task.poll() is None for task in tasks):
        if any(task.poll() for task in tasks):
            kill_at = kill_at or time.time() + 1  # KillWait
            for task in tasks:
                task.send_signal(signal.SIGTERM if time.time() < kill_at else signal.SIGKILL)
        try:
            data = os.read(0, 1000)
        except BlockingIOError:
            data = None
        for task in tasks if data is not None else []:
            if task.poll() is None and not task.stdin.closed:
                if data:
                    task.stdin.write(data)
                    task.stdin.flush()
                else:
                    task.stdin.close()
        time.sleep(0.05)
    sys.exit(max(task.returncode % 256 for task in tasks))


def scontrol(words: list[str]) -> None:
    if words[0] == "requeue":
        if PLAN.get("no_requeue"):
            sys.exit("scontrol: error: Requested operation is presently disabled for job")
        name = words[1].replace("_", ".")
        write(name if "." in name else f"{name}.", again=True)
    elif words[:2] == ["show", "hostnames"]:
        print("\n".join(hostnames(words[2])))
    elif words[:2] == ["show", "node"]:
        print(f"NodeName={words[2]} Arch=x86_64\n   NodeAddr=127.0.0.1 NodeHostName=vm")
    else:
        print(f"MaxArraySize            = {PLAN.get('max_array', 1001)}")


if __name__ == "__main__":
    JOBS.mkdir(exist_ok=True)
    globals()[Path(sys.argv[0]).name](sys.argv[1:])
