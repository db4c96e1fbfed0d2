#!/usr/bin/env python3
"""Makes GGUF headers of made-up models, and writes down what llama.cpp's own estimator says of them.

    make.py FIT_PARAMS RPC_SERVER OUT [NAME…]

Small ones are served too: serve.py.

Only hyper-parameters are written here. Names and shapes of tensors come from the loader's own complaints (`missing tensor`,
`wrong shape; expected`), so a model is what this llama.cpp takes for one of its architecture. Bodies are sparse: the estimator
does not read them. Writes OUT/NAME.gguf (the header) and OUT/oracle.json.
"""
import json, os, re, subprocess, sys, tempfile
import gguf
from models import MODELS

Q = {t.name.lower(): t for t in gguf.GGMLQuantizationType}
SMALL = ("ssm_conv1d", "ssm_a", "ssm_d", "ffn_gate_inp", "shortconv.conv", "ssm_dt", "time_mix_first", "time_mix_decay")


def kind_of(name, shape, quant):
    """Matrices have the model's type where rows are whole blocks; the rest is f32, as converters do it."""
    if len(shape) < 2 or any(part in name for part in SMALL) or not name.endswith(".weight"):
        return Q["f32"]
    block, _ = gguf.GGML_QUANT_SIZES[Q[quant]]
    return Q[quant] if shape[0] % block == 0 else Q["f16"]


def vocabulary(w, size):
    """Bytes, and words that no text has: about one token a character."""
    tokens = [b"<unk>", b"<s>", b"</s>"] + [f"<0x{byte:02X}>".encode() for byte in range(256)]
    kinds = [2, 3, 3] + [6] * 256
    for word in range(len(tokens), size):
        tokens.append(f"\u2581t{word}".encode())
        kinds.append(1)
    w.add_tokenizer_model("llama"); w.add_token_list(tokens); w.add_token_types(kinds)
    w.add_token_scores([-float(rank) for rank in range(size)])
    w.add_bos_token_id(1); w.add_eos_token_id(2); w.add_unk_token_id(0)


def write(path, model, tensors):
    """tensors: name → shape, fastest-varying first. The body is a hole."""
    arch = model["arch"]
    w = gguf.GGUFWriter(path, arch)
    for key, value in model["keys"].items():
        key = key if "." in key and key.split(".")[0] in ("general", "tokenizer", "split") else f"{arch}.{key}"
        if isinstance(value, bool): w.add_bool(key, value)
        elif isinstance(value, int): w.add_uint32(key, value)
        elif isinstance(value, float): w.add_float32(key, value)
        elif isinstance(value, str): w.add_string(key, value)
        else: w.add_array(key, value)
    if model.get("served"): vocabulary(w, model["keys"]["vocab_size"])
    else: w.add_tokenizer_model("no_vocab")
    for name, shape in tensors.items():
        kind = kind_of(name, shape, model["quant"])
        block, size = gguf.GGML_QUANT_SIZES[kind]
        count = 1
        for dim in shape: count *= dim
        # The writer takes shapes as numpy does, in bytes for quantised types.
        dims = list(reversed(shape))
        if block > 1: dims[-1] = dims[-1] // block * size
        w.add_tensor_info(name, dims, gguf.np.dtype("uint8") if block > 1 else gguf.np.dtype("float32"), count // block * size, raw_dtype=kind)
    w.write_header_to_file(); w.write_kv_data_to_file(); w.write_ti_data_to_file(); w.close()
    header = os.path.getsize(path)
    total = 0
    for name, shape in tensors.items():
        block, size = gguf.GGML_QUANT_SIZES[kind_of(name, shape, model["quant"])]
        count = 1
        for dim in shape: count *= dim
        total += -(-(count // block * size) // 32) * 32
    os.truncate(path, -(-header // 32) * 32 + total)
    return header


def run(tool, path, args):
    result = subprocess.run([tool, "-m", path, "-v", "--fit-print", "on", *args], capture_output=True, text=True,
                            env={**os.environ, "GGML_NO_BACKTRACE": "1"})
    return result.returncode, result.stdout, result.stderr


def complaint(text, tensors, layer_class, layers):
    """Adds what the loader misses. Returns whether it did."""
    found = re.search(r"missing tensor '([^']+)'|tensor '([^']+)' not found", text)
    if found:
        name = found[1] or found[2]
        block = re.fullmatch(r"blk\.(\d+)\.(.+)", name)
        if not block:
            tensors[name] = [1]
            return True
        like = layer_class(int(block[1]))
        for layer in range(layers):
            if layer_class(layer) == like:
                tensors.setdefault(f"blk.{layer}.{block[2]}", [1])
        return True
    found = re.search(r"tensor '([^']+)' has wrong shape; expected\s+([\d, ]+), got", text)
    if found:
        name, shape = found[1], [int(part) for part in found[2].split(",")]
        while len(shape) > 1 and shape[-1] == 1: shape.pop()
        block = re.fullmatch(r"blk\.(\d+)\.(.+)", name)
        if not block:
            tensors[name] = shape
            return True
        like = layer_class(int(block[1]))
        for layer in range(layers):
            if layer_class(layer) == like and f"blk.{layer}.{block[2]}" in tensors:
                tensors[f"blk.{layer}.{block[2]}"] = shape
        return True
    return False


def make(tool, path, model, run=run):
    """Adds tensors until the loader is content. Returns the length of the header."""
    layers = model["keys"]["block_count"]
    lists = [value for value in model["keys"].values() if isinstance(value, list)]
    dense = model["keys"].get("leading_dense_block_count", 0)
    extra = model.get("class", lambda layer: 0)
    last = layers - model["keys"].get("nextn_predict_layers", 0)
    layer_class = lambda layer: (tuple(l[layer] for l in lists if len(l) == layers), layer < dense, layer >= last, extra(layer))
    tensors = {}
    for name in model.get("optional", []):
        name, where = name if isinstance(name, tuple) else (name, lambda layer: True)
        if "%d" in name:
            for layer in filter(where, range(layers)): tensors[name % layer] = [1]
        else:
            tensors[name] = [1]
    silent = 0
    for _ in range(300):
        if silent > 12: break
        header = write(path, model, tensors)
        code, out, err = run(tool, path, ["-c", "512"])
        if code == 0 and re.search(r"^Host ", out, re.M):
            return header
        # The tool may die before its log is written: ask again.
        silent = 0 if complaint(out + err, tensors, layer_class, layers) else silent + 1
    wrong = [line for line in (out + err).splitlines() if " E " in line or "rror" in line or "ASSERT" in line]
    sys.exit(f"{model['name']}: " + "\n".join(wrong)[-1500:] + (out + err)[-300:])


def ask(tool, path, args):
    for _ in range(5):
        code, out, err = run(tool, path, args)
        if code == 0: break
    rows = {m[1]: [int(n) for n in m.groups()[1:]] for m in re.finditer(r"^(\S+) (\d+) (\d+) (\d+) ?$", out, re.M)}
    if "Host" not in rows:
        sys.exit(f"{path} {args}: {code} {out!r} {err[-800:]}")
    return rows


def main():
    tool, server, out, *names = sys.argv[1:]
    os.makedirs(out, exist_ok=True)
    oracle_path = os.path.join(out, "oracle.json")
    oracle = json.load(open(oracle_path)) if names and os.path.exists(oracle_path) else {}
    port = 50971
    rpc = subprocess.Popen([server, "-H", "127.0.0.1", "-p", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        with tempfile.TemporaryDirectory() as scratch:
            for model in MODELS:
                if names and model["name"] not in names: continue
                path = os.path.join(scratch, model["name"] + ".gguf")
                header = make(tool, path, model)
                with open(path, "rb") as whole, open(os.path.join(out, model["name"] + ".gguf"), "wb") as kept:
                    kept.write(whole.read(header))
                runs = []
                for args in model["runs"]:
                    gpu = ["--rpc", f"127.0.0.1:{port}"] if "-ngl" in args else []
                    rows = ask(tool, path, [*args, "--no-repack", *gpu])
                    host = rows.pop("Host")
                    if gpu and not rows:
                        sys.exit(f"{model['name']} {args}: no row of a device that counts as a GPU")
                    runs.append({"args": args, "host": host, "gpu": list(rows.values())})
                oracle[model["name"]] = {"arch": model["arch"], "class": model["kind"], "bytes": os.path.getsize(path), "runs": runs}
                os.remove(path)
                print(model["name"], header, runs, flush=True)
    finally:
        rpc.terminate()
    with open(oracle_path, "w") as file:
        file.write("{\n" + ",\n".join(f" {json.dumps(n)}: {json.dumps(o)}" for n, o in sorted(oracle.items())) + "\n}\n")


if __name__ == "__main__":
    main()
