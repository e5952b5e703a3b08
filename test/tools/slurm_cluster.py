"""A real Slurm cluster of two pretended nodes on this host, for tests: four daemons in a folder."""

import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

DAEMONS = ("munged", "slurmctld", "slurmd")
SBIN = f"{os.environ['PATH']}:/usr/sbin:/sbin"

CONF = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
CredType=cred/munge
SlurmUser={user}
SlurmdUser={user}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=batch_sched_delay=0,sched_interval=1,bf_interval=1
SlurmdParameters=config_overrides
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
ReturnToService=2
KillWait=2
MinJobAge=300
MaxArraySize=4
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={port_1} CPUs=2 RealMemory=500
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port={port_2} CPUs=2 RealMemory=500
PartitionName=main Nodes=n1,n2 Default=YES MaxTime=60 State=UP
"""


def missing() -> list[str]:
    """Return the programs that are not installed."""
    return [name for name in (*DAEMONS, "sbatch") if shutil.which(name, path=SBIN) is None]


def free_ports(n: int) -> list[int]:
    sockets = [socket.socket() for _ in range(n)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


class SlurmCluster:
    """Starts the daemons; `close` ends exactly them and all jobs."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.processes = folder, []
        for name in ("munge", "state", "spool-n1", "spool-n2"):
            (folder / name).mkdir(parents=True)
        os.chmod(folder, 0o755)  # munge wants no folder that others can write to
        user = subprocess.run(["id", "-un"], capture_output=True, text=True, check=True)
        port, port_1, port_2 = free_ports(3)
        host = socket.gethostname().partition(".")[0]
        values = dict(port=port, port_1=port_1, port_2=port_2, host=host, folder=folder)
        (folder / "slurm.conf").write_text(CONF.format(user=user.stdout.strip(), **values))
        key = folder / "munge" / "key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o600)
        self.environment = {**os.environ, "PATH": SBIN, "SLURM_CONF": str(folder / "slurm.conf")}

    def start(self) -> None:
        munge, conf = self.folder / "munge", self.folder / "slurm.conf"
        files = {"key-file": "key", "socket": "socket", "pid-file": "pid", "log-file": "log"}
        files["seed-file"] = "seed"
        self._spawn("munged", "-F", *(f"--{name}={munge}/{f}" for name, f in files.items()))
        self.wait_for(lambda: (munge / "socket").exists())
        self._spawn("slurmctld", "-D", "-i", "-f", str(conf))
        for node in ("n1", "n2"):
            self._spawn("slurmd", "-D", "-N", node, "-f", str(conf))
        self.wait_for(lambda: self.ask("sinfo", "-h", "-N", "-o", "%T").split() == ["idle"] * 2)

    def _spawn(self, *command: str) -> None:
        with (self.folder / f"{command[0]}.out").open("a") as out:
            self.processes.append(
                subprocess.Popen(
                    command,
                    env=self.environment,
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=out,
                    start_new_session=True,
                )
            )

    def ask(self, *command: str) -> str:
        done = subprocess.run(
            command, env=self.environment, capture_output=True, text=True, timeout=60
        )
        return done.stdout

    def wait_for(self, what, seconds: float = 90.0) -> None:
        deadline = time.monotonic() + seconds
        while not what():
            assert time.monotonic() < deadline, f"the cluster in {self.folder} does not get ready"
            time.sleep(0.1)

    def close(self) -> None:
        if len(self.processes) > 1:
            self.ask("scancel", "-u", str(os.getuid()))
            deadline = time.monotonic() + 60
            while self.ask("squeue", "-h").strip() and time.monotonic() < deadline:
                time.sleep(0.2)
        for process in reversed(self.processes):
            process.terminate()
        for process in reversed(self.processes):
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
