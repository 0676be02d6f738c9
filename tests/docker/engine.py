"""A Docker Engine: the one that answers, or a private one out of Debian packages.

The private engine needs root on Debian and installs nothing but iptables and iproute2. Everything
it has is in one directory (`host.cache("engine")`):

    root/   the unpacked packages, used where they lie
    data/   images, volumes and build cache, kept between runs
    exec/ run/ config/ log

It lives in mount and process namespaces of its own. So nothing of it is mounted where others see
it, and the kernel ends every container, shim and proxy when the one outer process (`unshare`)
ends, however that happens (https://man7.org/linux/man-pages/man7/pid_namespaces.7.html). What the
kernel does not end, because the network namespace is the machine's, is swept up here: bridges,
iptables rules, cgroups.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from . import host

# The first Debian release with API 1.51, compose 2.40 and buildx. Its programs are linked against
# a C library that every release since bookworm has, except these two, taken from the host's own.
SUITE = "forky"
PACKAGES = ("docker.io", "docker-cli", "docker-compose", "docker-buildx", "containerd")
PACKAGES_OF_HOST = ("runc", "tini")

HOST_COMMANDS = {"iptables": "iptables", "ip": "iproute2"}

# Not Docker's own 172.17.0.0/16 and up: an address in these is known to be ours when sweeping.
BRIDGE = "10.201.0.1/24"
POOL = "10.202.0.0/16"
OURS = re.compile(r"\b10\.20[12]\.\d+\.\d+")

CGROUP = "cookiecutter-django-channels"
LONGEST_SOCKET = "exec/containerd/containerd.sock.ttrpc"
# containerd has no setting for where the sockets of its shims are.
PRIVATE_RUN = 'mkdir -p /run/containerd && mount -t tmpfs docker-host /run/containerd && exec "$@"'
START_SECONDS = 60
STOP_SECONDS = 30

# Held (shared) by each process that uses the private engine, until it stops it or dies.
_in_use: IO[str] | None = None
# The outer process of an engine that this process started.
_started: subprocess.Popen[bytes] | None = None


class NoEngine(host.DockerHostError):
    """No Docker Engine answers and none can be started here."""


@dataclass(frozen=True)
class Engine:
    """A Docker Engine to run `docker` and `docker compose` with."""

    env: Mapping[str, str]
    """What to add to the environment of every command. Empty for the machine's own engine."""
    owned: bool
    """Whether this process started it, and so should `stop` it."""


def ensure() -> Engine:
    """Return an engine that answers; start a private one when there is none.

    An engine that answers in the current environment is used as it is. A private one that an
    earlier process started and did not stop is used again, with `owned=False`.

    Raises NoEngine when none answers and none can be started here, and host.DockerHostError when
    Debian's packages cannot be fetched.
    """
    if foreign := _foreign():
        return foreign
    if not host.can_install():
        raise NoEngine("no Docker Engine answers: start Docker, or run as root on Debian")
    if len(str(_dir(LONGEST_SOCKET))) > 107:  # https://man7.org/linux/man-pages/man7/unix.7.html
        raise NoEngine(f"{host.cache()} is too long for sockets in it: set XDG_CACHE_HOME")
    with host.lock("engine"):
        _hold()
        env = _env()
        if _answers(env):
            return Engine(env, owned=False)
        _refuse_second_dockerd()
        host.require(HOST_COMMANDS)
        _have_programs()
        with host.step("starting a private Docker Engine"):
            _start(env)
        return Engine(env, owned=True)


def current() -> Engine | None:
    """Return the engine `ensure` would find already running, or None. Starts nothing."""
    if foreign := _foreign():
        return foreign
    env = _env()
    return Engine(env, owned=False) if _answers(env) else None


def stop(engine: Engine) -> None:
    """Stop an engine that this process started; do nothing to any other one.

    Its containers and networks are removed, images and volumes are kept. While other processes
    use it, it is left to the last of them that calls `stop`.
    """
    if engine.env.get("DOCKER_HOST") != _address():
        return
    with host.lock("engine"):
        left_to_us = _dir("run") / "left-by-owner"
        if not (engine.owned or left_to_us.exists()):
            return
        _release()
        if _used_by_others():
            host.report("the Docker Engine is in use by another process, which will stop it")
            left_to_us.touch()
            return
        _stop()


def down() -> None:
    """Stop the private engine, whoever started it. Does nothing when it does not run."""
    with host.lock("engine"):
        _stop()


# --- finding ---------------------------------------------------------------------------------


def _dir(name: str) -> Path:
    return host.cache("engine", name)


def _address() -> str:
    return f"unix://{_dir('run')}/docker.sock"


def _env() -> dict[str, str]:
    root = _dir("root")
    path = [f"{root}/usr/sbin", f"{root}/usr/bin", host.root_path()]
    return {
        "DOCKER_HOST": _address(),
        "DOCKER_CONFIG": str(_dir("config")),
        "PATH": os.pathsep.join(path),
    }


def _answers(env: Mapping[str, str]) -> bool:
    """Whether `docker version` reaches a server. Without one it exits with 1."""
    env = os.environ | env
    docker = shutil.which("docker", path=env.get("PATH"))
    if docker is None:
        return False
    try:
        done = subprocess.run(
            [docker, "version"], check=False, env=env, capture_output=True, timeout=60
        )
    except subprocess.TimeoutExpired:  # an address in DOCKER_HOST that drops packets
        return False
    return done.returncode == 0


def _foreign() -> Engine | None:
    """Return the engine, not our private one, that answers in the current environment, if any.

    Where it has no client plugins (Debian's docker.io package comes without), ours are used.
    """
    if os.environ.get("DOCKER_HOST") == _address() or not _answers({}):
        return None
    probes = [["docker", plugin, "version"] for plugin in ("compose", "buildx")]
    done = [subprocess.run(probe, check=False, capture_output=True) for probe in probes]
    if not any(probe.returncode for probe in done):
        return Engine({}, owned=False)
    if not host.can_install():
        raise NoEngine("Docker answers, but its plugins compose and buildx do not: install both")
    # Our configuration names the plugins, but not where the engine is, if a context did.
    inspect = ["docker", "context", "inspect", "--format", "{{.Endpoints.docker.Host}}"]
    context = subprocess.run(inspect, check=True, capture_output=True, text=True)
    with host.lock("engine"):
        _have_programs()
    return Engine(_env() | {"DOCKER_HOST": context.stdout.strip()}, owned=False)


def _refuse_second_dockerd() -> None:
    """Raise NoEngine when a dockerd that is not ours runs in this network namespace.

    Two of them flush each other's iptables chains: published ports of both stop working.
    """
    our_network = os.readlink("/proc/self/ns/net")
    for process in Path("/proc").glob("[0-9]*"):
        # A process may end, or be a kernel thread without links, while it is looked at.
        with suppress(OSError):
            is_dockerd = (process / "comm").read_text() == "dockerd\n"
            if is_dockerd and os.readlink(process / "ns/net") == our_network and not _ours(process):
                raise NoEngine(
                    f"a Docker Engine (process {process.name}) runs here but does not answer: "
                    "set DOCKER_HOST to its socket, or stop it"
                )


def _ours(process: Path) -> bool:
    """Whether a directory in /proc is that of a live process of our private engine.

    The command line is compared, because a process id may have been reused. A zombie's is empty.
    """
    with suppress(OSError):
        return os.fsencode(_dir("data")) in (process / "cmdline").read_bytes().split(b"\0")
    return False


# --- fetching --------------------------------------------------------------------------------


def _have_programs() -> None:
    """Fetch the programs unless they are here, and configure the path of the client's plugins."""
    if not _dir("root").exists():
        with host.step("fetching the Docker Engine from Debian"):
            _fetch()
    _dir("config").mkdir(exist_ok=True)
    plugins = {"cliPluginsExtraDirs": [f"{_dir('root')}/usr/libexec/docker/cli-plugins"]}
    (_dir("config") / "config.json").write_text(json.dumps(plugins))


def _fetch() -> None:
    """Unpack the packages into root/. Nothing is installed; apt's state is thrown away."""
    mirror = host.mirror()
    work = _dir("fetch")
    shutil.rmtree(work, ignore_errors=True)
    for name in ("lists/partial", "cache/archives/partial", "debs", "root"):
        (work / name).mkdir(parents=True)
    suites = sorted({SUITE, mirror.suite})
    options = f"[signed-by={host.keyring()}]"
    sources = [f"deb {options} {mirror.uri} {suite} main\n" for suite in suites]
    (work / "sources.list").write_text("".join(sources))
    (work / "apt.conf").write_text(
        f'Dir::Etc::sourcelist "{work}/sources.list";\n'
        'Dir::Etc::sourceparts "/dev/null";\n'
        f'Dir::State::lists "{work}/lists";\n'
        f'Dir::Cache "{work}/cache";\n'
        'Acquire::Languages "none";\n'
        # A mirror may be older than a testing release allows (one week). Signatures are checked.
        'Acquire::Check-Valid-Until "false";\n'
        # apt's own user cannot write below root's home directory.
        'APT::Sandbox::User "root";\n'
    )
    env = os.environ | {"APT_CONFIG": f"{work}/apt.conf"}
    wanted = [f"{name}/{SUITE}" for name in PACKAGES]
    wanted += [f"{name}/{mirror.suite}" for name in PACKAGES_OF_HOST]
    host.run_logged(["apt-get", "update"], _dir("log"), env)
    download = ["sh", "-c", 'cd "$0" && exec apt-get download "$@"', f"{work}/debs", *wanted]
    host.run_logged(download, _dir("log"), env)
    for deb in sorted((work / "debs").iterdir()):
        subprocess.run(["dpkg", "-x", deb, work / "root"], check=True)
    # Last, and in one go: a root/ that exists is complete.
    (work / "root").rename(_dir("root"))
    shutil.rmtree(work)


# --- starting --------------------------------------------------------------------------------


def _start(env: Mapping[str, str]) -> None:
    global _started
    root, run = _dir("root"), _dir("run")
    _kill()  # one that runs but does not answer
    _sweep()
    # After a kill these hold sockets and process ids of the dead, which the new daemon would trust.
    for name in ("exec", "run"):
        shutil.rmtree(_dir(name), ignore_errors=True)
    for name in ("data", "exec", "run"):
        _dir(name).mkdir(exist_ok=True)
    (_dir("config") / "daemon.json").write_text("{}")
    forwarding = Path("/proc/sys/net/ipv4/ip_forward")
    if forwarding.read_text().strip() == "0":
        (run / "ip-forward-was-off").touch()
    # fmt: off
    command: list[str | Path] = [
        "unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child",
        "--mount-proc", "sh", "-c", PRIVATE_RUN, "sh", "dockerd",
        "--data-root", _dir("data"), "--exec-root", _dir("exec"), "--pidfile", run / "dockerd.pid",
        "--config-file", _dir("config") / "daemon.json", "--host", _address(), "--group", "root",
        "--userland-proxy-path", root / "usr/sbin/docker-proxy",
        "--init-path", root / "usr/bin/tini-static",
        "--bip", BRIDGE, "--default-address-pool", f"base={POOL},size=24",
        # The machine's own policy for forwarded packets stays as it is.
        "--ip-forward-no-drop",
        # Where systemd runs, dockerd would ask it for cgroups, and its names are other ones.
        "--exec-opt", "native.cgroupdriver=cgroupfs", "--cgroup-parent", f"/{CGROUP}",
    ]
    # fmt: on
    with _dir("log").open("wb") as log:
        _started = subprocess.Popen(
            command,
            env=os.environ | env,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C in the terminal is for the tests, which then stop it
        )
    (run / "outer.pid").write_text(str(_started.pid))
    try:
        deadline = time.monotonic() + START_SECONDS
        while not _answers(env):
            if _started.poll() is not None or time.monotonic() > deadline:
                end = host.tail(_dir("log"))
                raise NoEngine(f"dockerd does not start, see {_dir('log')}:\n{end}")
            time.sleep(0.1)
        _clear(env)  # containers of a killed run, which a restart policy has just revived
    except BaseException:
        _kill()
        _sweep()
        raise


def _clear(env: Mapping[str, str]) -> None:
    """Remove all containers and networks. Their volumes are data, and stay."""

    def docker(*arguments: str) -> str:
        command = ["docker", *arguments]
        done = subprocess.run(
            command, env=os.environ | env, check=True, capture_output=True, text=True
        )
        return done.stdout

    if docker("info", "--format", "{{.Swarm.LocalNodeState}}").strip() == "active":
        docker("swarm", "leave", "--force")  # or its services start their containers again
    if containers := docker("ps", "--all", "--quiet").split():
        docker("rm", "--force", "--volumes", *containers)  # --volumes: only the nameless ones
    docker("network", "prune", "--force")


# --- stopping --------------------------------------------------------------------------------


def _stop() -> None:
    if not _dir("run").exists():
        return
    with host.step("stopping the private Docker Engine"):
        env = _env()
        if _answers(env):
            # First: otherwise dockerd waits for each container's stop_grace_period.
            try:
                _clear(env)
            except subprocess.CalledProcessError as error:
                host.report(f"not all containers could be removed: {error.stderr.strip()}")
        _kill()
        _sweep()
        shutil.rmtree(_dir("exec"), ignore_errors=True)
        shutil.rmtree(_dir("run"))


def _kill() -> None:
    """End the private engine: dockerd is asked, and killed when that takes too long."""
    pid_file = _dir("run") / "outer.pid"
    if not pid_file.exists():
        return
    outer = int(pid_file.read_text())
    process = Path(f"/proc/{outer}")
    if _ours(process):
        # `unshare` itself passes no signal on.
        children = (process / f"task/{outer}/children").read_text().split()
        for child in children:
            with suppress(ProcessLookupError):  # it has just ended by itself
                os.kill(int(child), signal.SIGTERM)
        if not _gone(process, STOP_SECONDS):
            os.kill(outer, signal.SIGKILL)  # takes the whole process namespace with it
            if not _gone(process, STOP_SECONDS):
                raise host.DockerHostError(f"the Docker Engine (process {outer}) cannot be killed")
    if _started is not None and _started.pid == outer:
        _started.wait()


def _gone(process: Path, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while _ours(process):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def _sweep() -> None:
    """Remove a dead engine's bridges, packet filter rules and cgroups from the machine."""
    addresses = subprocess.run(["ip", "-json", "-4", "address"], check=True, capture_output=True)
    for link in json.loads(addresses.stdout):
        if any(OURS.match(address["local"]) for address in link.get("addr_info", [])):
            subprocess.run(["ip", "link", "delete", link["ifname"]], check=True)
    for tool in ("iptables", "ip6tables"):
        _sweep_rules(tool)
    # Version 1 has a hierarchy for each controller, version 2 one for all.
    for pattern in (CGROUP, f"*/{CGROUP}"):
        for top in Path("/sys/fs/cgroup").glob(pattern):
            for directory, _, _ in os.walk(top, topdown=False):
                # In use: by an engine of another cache directory, in another network namespace.
                with suppress(OSError):
                    os.rmdir(directory)
    if (_dir("run") / "ip-forward-was-off").exists():
        Path("/proc/sys/net/ipv4/ip_forward").write_text("0")


def _sweep_rules(tool: str) -> None:
    """Put back the packet filter rules without Docker's chains and without our addresses."""
    path = {"PATH": host.root_path()}
    save, restore = f"{tool}-save", f"{tool}-restore"
    saved = subprocess.run(
        [save, "--counters"], env=os.environ | path, check=True, capture_output=True, text=True
    )
    rules = saved.stdout.splitlines(keepends=True)
    kept = [rule for rule in rules if "DOCKER" not in rule and not OURS.search(rule)]
    if kept != rules:
        subprocess.run(
            [restore, "--counters"],
            env=os.environ | path,
            check=True,
            input="".join(kept),
            text=True,
        )


# --- users -----------------------------------------------------------------------------------


def _users() -> Path:
    return host.cache("engine-users.lock")


def _hold() -> None:
    """Note that this process uses the private engine. The kernel forgets it when we die."""
    global _in_use
    if _in_use is None:
        _in_use = _users().open("w")
        fcntl.flock(_in_use, fcntl.LOCK_SH)


def _release() -> None:
    global _in_use
    if _in_use is not None:
        _in_use.close()
        _in_use = None


def _used_by_others() -> bool:
    with _users().open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False
