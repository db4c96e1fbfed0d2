#!/usr/bin/env python3
"""Runs a real llama.cpp server with small made-up models, each in a cgroup of its own, and writes down what the kernel charged.

    serve.py PYTHON OUT [NAME…]

PYTHON has xllamacpp, whose server is that of llama.cpp (tests/llama).

Writes OUT/NAME.gguf (the header) and OUT/served.json: bytes that are anonymous and that are mapped once it has answered, and the
peak of all that was charged. Needs root, and a memory cgroup (v1 or v2).
"""
import json, os, subprocess, sys, tempfile, time, urllib.request
from make import make
from models import SERVED

V1 = "/sys/fs/cgroup/memory"
PATIENCE = 300


class Cgroup:
    """One memory cgroup. It ends with what runs in it."""

    def __init__(self):
        self.old = os.path.exists(f"{V1}/memory.limit_in_bytes")
        self.path = f"{V1 if self.old else '/sys/fs/cgroup'}/headroom-served-{os.getpid()}"
        os.mkdir(self.path)

    def read(self, name):
        with open(f"{self.path}/{name}") as file: return file.read()

    def stat(self):
        pairs = dict(line.split() for line in self.read("memory.stat").splitlines())
        anonymous, mapped = ("rss", "mapped_file") if self.old else ("anon", "file_mapped")
        peak = self.read("memory.max_usage_in_bytes" if self.old else "memory.peak")
        return {"anonymous": int(pairs[anonymous]), "mapped": int(pairs[mapped]), "peak": int(peak)}

    def join(self):
        with open(f"{self.path}/cgroup.procs", "w") as file: file.write("0")

    def remove(self):
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            try: return os.rmdir(self.path)
            except OSError: time.sleep(0.05)


def ask(address, path, body):
    request = urllib.request.Request(address + path, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=PATIENCE) as answer: return json.load(answer)


class Server:
    """One that runs; without an address it could not load the model, and says why."""

    def __init__(self, python, path, args, join=None):
        line = [python, os.path.join(os.path.dirname(__file__), "../llama/llama-server"), "-m", path, *args]
        self.log = tempfile.TemporaryFile("w+")
        self.child = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=self.log, preexec_fn=join, text=True)
        self.address = self.child.stdout.readline().strip()

    def told(self):
        self.log.seek(0)
        return self.log.read()

    def end(self):
        self.child.kill()
        self.child.wait()


def attempt(python, path, args):
    """As make() asks: whether it loads, and what it says."""
    server = Server(python, path, args)
    server.end()
    return (0, "Host 0 0 0", "") if server.address else (1, "", server.told())


def serve(python, path, args):
    cgroup = Cgroup()
    server = Server(python, path, [*args, "-t", "2"], cgroup.join)
    try:
        if not server.address: sys.exit(f"{path} {args}: {server.told()[-1500:]}")
        # Longer than a batch that is computed at once, so that all of the buffers is touched.
        answer = ask(server.address, "/completion", {"prompt": "a" * 560, "n_predict": 4, "ignore_eos": True})
        if answer["tokens_predicted"] != 4: sys.exit(f"{path} {args}: {answer}")
        return cgroup.stat()
    finally:
        server.end()
        cgroup.remove()


def main():
    python, out, *names = sys.argv[1:]
    kept_path = os.path.join(out, "served.json")
    found = json.load(open(kept_path)) if names and os.path.exists(kept_path) else {}
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR", "/var/tmp")) as scratch:
        for model in SERVED:
            if names and model["name"] not in names: continue
            path = os.path.join(scratch, model["name"] + ".gguf")
            header = make(python, path, model, attempt)
            with open(path, "rb") as whole, open(os.path.join(out, model["name"] + ".gguf"), "wb") as kept:
                kept.write(whole.read(header))
            runs = []
            for args in model["runs"]:
                # What another has read already would be charged to it.
                with open(path, "rb") as file: os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
                runs.append({"args": args, **serve(python, path, args)})
                print(model["name"], runs[-1], flush=True)
            found[model["name"]] = {"arch": model["arch"], "bytes": os.path.getsize(path), "runs": runs}
            os.remove(path)
    with open(kept_path, "w") as file:
        file.write("{\n" + ",\n".join(f" {json.dumps(n)}: {json.dumps(o)}" for n, o in sorted(found.items())) + "\n}\n")


main()
