#!/usr/bin/env python3
"""Runs a real llama-server with small made-up models, each in a cgroup of its own, and writes down what the kernel charged.

    serve.py FIT_PARAMS LLAMA_SERVER OUT

Writes OUT/NAME.gguf (the header) and OUT/served.json: bytes that are anonymous and that are mapped once it has answered, and the
peak of all that was charged. Needs root, and a memory cgroup (v1 or v2).
"""
import json, os, socket, subprocess, sys, tempfile, time, urllib.error, urllib.request
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


def ask(port, path, body=None):
    data = json.dumps(body).encode() if body is not None else None
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=PATIENCE) as answer: return json.load(answer)


def serve(server, path, args):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    cgroup = Cgroup()
    log = tempfile.TemporaryFile("w+")
    line = [server, "-m", path, "--host", "127.0.0.1", "--port", str(port), "-t", "2", "--no-warmup", *args]
    child = subprocess.Popen(line, stdout=log, stderr=log, preexec_fn=cgroup.join)
    try:
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                if ask(port, "/health")["status"] == "ok": break
            except (urllib.error.URLError, ConnectionError, KeyError):
                pass
            if child.poll() is not None or time.monotonic() > deadline:
                log.seek(0)
                sys.exit(f"{line}: {log.read()[-1500:]}")
            time.sleep(0.1)
        # Longer than a batch that is computed at once, so that all of the buffers is touched.
        answer = ask(port, "/completion", {"prompt": "a" * 1200, "n_predict": 4, "ignore_eos": True})
        if answer["tokens_predicted"] != 4: sys.exit(f"{line}: {answer}")
        return cgroup.stat()
    finally:
        child.terminate()
        try: child.wait(PATIENCE)
        except subprocess.TimeoutExpired: child.kill()
        cgroup.remove()


def main():
    tool, server, out = sys.argv[1:]
    found = {}
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR", "/var/tmp")) as scratch:
        for model in SERVED:
            path = os.path.join(scratch, model["name"] + ".gguf")
            header = make(tool, path, model)
            with open(path, "rb") as whole, open(os.path.join(out, model["name"] + ".gguf"), "wb") as kept:
                kept.write(whole.read(header))
            runs = []
            for args in model["runs"]:
                # What another has read already would be charged to it.
                with open(path, "rb") as file: os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
                runs.append({"args": args, **serve(server, path, args)})
                print(model["name"], runs[-1], flush=True)
            found[model["name"]] = {"arch": model["arch"], "bytes": os.path.getsize(path), "runs": runs}
            os.remove(path)
    with open(os.path.join(out, "served.json"), "w") as file:
        file.write("{\n" + ",\n".join(f" {json.dumps(n)}: {json.dumps(o)}" for n, o in sorted(found.items())) + "\n}\n")


main()
