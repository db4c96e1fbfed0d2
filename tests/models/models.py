"""Hyper-parameters of the made-up models, and the command lines that are tried on each."""

MODELS = []
# Small enough to be loaded, with a vocabulary.
SERVED = []


def model(name, arch, kind, quant, keys, runs=(), optional=(), **more):
    runs = [args.split() for args in runs] or [["-c", "4096"]]
    MODELS.append(dict(name=name, arch=arch, kind=kind, quant=quant, keys=keys, runs=runs, optional=list(optional), **more))


def served(name, arch, quant, keys, runs, optional=(), **more):
    """`--cache-ram 0`: what prompts are kept depends on what is asked."""
    runs = [["--cache-ram", "0", *args.split()] for args in runs]
    SERVED.append(dict(name=name, arch=arch, quant=quant, keys=keys, runs=runs, optional=list(optional), served=True, **more))


def base(layers, embd, ff, ctx, vocab, heads=None, kv=None, **more):
    keys = dict(block_count=layers, embedding_length=embd, context_length=ctx, vocab_size=vocab)
    if ff is not None: keys["feed_forward_length"] = ff
    if heads is not None: keys["attention.head_count"] = heads
    if kv is not None: keys["attention.head_count_kv"] = kv
    keys["attention.layer_norm_rms_epsilon"] = 1e-5
    keys.update({key.replace("__", "."): value for key, value in more.items()})
    return keys


OUT = ["output.weight"]
CONV = "blk.%d.ssm_conv1d.bias"

model("llama-8b-q4", "llama", "dense", "q4_k", base(32, 4096, 14336, 131072, 128256, 32, 8), optional=OUT,
      runs=["-c 4096", "-c 32768 -ctk q8_0 -ctv q8_0", "-c 8192 -fa off", "-c 8192 -ub 1024", "-c 16384 -np 3 -ub 256", "-c 8192 -ngl 99", "-c 8192 -ngl 20", "-c 8192 -ngl 99 -nkvo", "-c 131072 -ngl 33", "-c 8192 -ngl 99 -fa off"])
model("llama-mha", "llama", "dense", "f16", base(8, 1024, 2816, 8192, 8000, 16, 16), optional=OUT,
      runs=["-c 4096", "-c 5000 -np 2", "-c 8192 -ctk f32 -ctv f32", "-c 4096 -ngl 99", "-c 4096 -ngl 0", "-c 4096 -fa off", "-c 4096 -ub 64"])
model("llama-1b-tied", "llama", "dense", "q6_k", base(16, 2048, 8192, 131072, 128256, 32, 8), runs=["-c 8192", "-c 8192 -ngl 99", "-c 8192 -ngl 8"])
model("mistral-24b-q8", "llama", "dense", "q8_0", base(40, 5120, 32768, 32768, 131072, 32, 8, attention__key_length=128, attention__value_length=128, rope__dimension_count=128), optional=OUT,
      runs=["-c 32768", "-c 16384 -ngl 99 -ctk q4_0 -ctv q4_0", "-c 65536 -np 4 -ngl 99"])
model("qwen2-7b", "qwen2", "dense", "q4_k", base(28, 3584, 18944, 32768, 152064, 28, 4), optional=OUT, runs=["-c 32768", "-c 32768 -np 4", "-c 32768 -ngl 99"])
model("qwen3-4b", "qwen3", "dense", "q8_0", base(36, 2560, 9728, 40960, 151936, 32, 8, attention__key_length=128, attention__value_length=128), runs=["-c 40960", "-c 8192 -ngl 99 -ub 2048 -b 2048", "-c 40960 -ctk q5_1 -ctv iq4_nl"])
model("falcon-mqa", "falcon", "dense", "f16", base(12, 1152, 4608, 2048, 65024, 18, 1, attention__layer_norm_epsilon=1e-5), optional=OUT, runs=["-c 2048", "-c 2048 -ngl 99"])
model("gptneox", "gptneox", "dense", "f16", base(16, 2048, 8192, 2048, 50432, 16, None, attention__layer_norm_epsilon=1e-5, use_parallel_residual=True, rope__dimension_count=32), optional=OUT, runs=["-c 2048", "-c 2048 -fa off"])
model("phi3-mini", "phi3", "dense", "q4_0", base(32, 3072, 8192, 4096, 32064, 32, 32, attention__sliding_window=2047, rope__dimension_count=96), optional=OUT + ["blk.%d.attn_qkv.weight"], runs=["-c 4096", "-c 4096 -ngl 99"])
model("command-r", "command-r", "dense", "q4_k", base(20, 8192, 22528, 131072, 256000, 64, 64, attention__layer_norm_epsilon=1e-5, logit_scale=0.0625), runs=["-c 8192", "-c 8192 -ngl 99"])
model("gemma2-9b", "gemma2", "swa", "q4_k", base(42, 3584, 14336, 8192, 256000, 16, 8, attention__key_length=256, attention__value_length=256, attention__sliding_window=4096, attn_logit_softcapping=50.0, final_logit_softcapping=30.0), runs=["-c 8192", "-c 8192 -ngl 99", "-c 8192 -np 2 -ub 256"])
model("gemma3-27b", "gemma3", "swa", "q4_0", base(26, 5376, 21504, 131072, 262208, 32, 16, attention__key_length=128, attention__value_length=128, attention__sliding_window=1024), runs=["-c 32768", "-c 32768 -ngl 99", "-c 32768 -np 2 -ctk q8_0 -ctv q8_0", "-c 32768 --swa-full"])
model("gemma3n-e4b", "gemma3n", "shared", "q8_0", base(21, 2048, 16384, 32768, 262400, 8, 2, attention__key_length=256, attention__value_length=256, attention__sliding_window=512, embedding_length_per_layer_input=256, altup__num_inputs=4, altup__active_idx=0, laurel__rank=64), runs=["-c 8192", "-c 8192 -ngl 99"])
model("gemma4-e2b", "gemma4", "shared", "q4_0", base(20, 1536, [6144] * 10 + [12288] * 10, 131072, 262144, 8, 1, attention__key_length=512, attention__value_length=512, attention__key_length_swa=256, attention__value_length_swa=256, attention__sliding_window=512, attention__sliding_window_pattern=[il % 5 != 4 for il in range(20)], attention__shared_kv_layers=10, embedding_length_per_layer_input=256), runs=["-c 16384", "-c 16384 -ngl 99"])
model("cohere2-7b", "cohere2", "swa", "q8_0", base(32, 4096, 14336, 131072, 256000, 32, 8, attention__sliding_window=4096, attention__layer_norm_epsilon=1e-5, logit_scale=0.25), runs=["-c 16384", "-c 16384 -np 3"])
model("gpt-oss-20b", "gpt-oss", "swa-moe", "mxfp4", base(24, 2880, 2880, 131072, 201088, 64, 8, attention__key_length=64, attention__value_length=64, attention__sliding_window=128, expert_count=32, expert_used_count=4, expert_feed_forward_length=2880), optional=OUT, runs=["-c 131072", "-c 32768 -ngl 99", "-c 32768 -ngl 99 --cpu-moe", "-c 32768 -ngl 99 --n-cpu-moe 8"])
model("llama4-scout", "llama4", "swa-moe", "q4_k", base(12, 5120, 16384, 262144, 202048, 40, 8, attention__key_length=128, attention__value_length=128, rope__dimension_count=128, expert_count=16, expert_used_count=1, expert_feed_forward_length=8192, interleave_moe_layer_step=1), optional=OUT, runs=["-c 32768"])
model("exaone4-32b", "exaone4", "swa", "q4_k", base(24, 5120, 27392, 131072, 102400, 40, 8, attention__key_length=128, attention__value_length=128, attention__sliding_window=4096, attention__sliding_window_pattern=4), optional=OUT, runs=["-c 16384"])
model("smallthinker-4b", "smallthinker", "swa-moe", "q4_0", base(32, 1536, 768, 32768, 151936, 12, 2, attention__key_length=128, attention__value_length=128, attention__sliding_window=4096, expert_count=32, expert_used_count=4, expert_feed_forward_length=768, expert_gating_func=2), runs=["-c 16384"])
model("mixtral-8x7b", "llama", "moe", "q4_k", base(32, 4096, 14336, 32768, 32000, 32, 8, expert_count=8, expert_used_count=2), optional=OUT, runs=["-c 32768", "-c 8192 -ngl 99", "-c 8192 -ngl 99 --n-cpu-moe 16", "-c 8192 -ngl 10"])
model("qwen3-30b-a3b", "qwen3moe", "moe", "q4_k", base(24, 2048, 6144, 40960, 151936, 32, 4, attention__key_length=128, attention__value_length=128, expert_count=128, expert_used_count=8, expert_feed_forward_length=768), optional=OUT, runs=["-c 32768", "-c 32768 -ngl 99 --cpu-moe"])
model("glm4-moe-nextn", "glm4moe", "moe", "q4_k", base(8, 4096, 10944, 131072, 151552, 96, 8, attention__key_length=128, attention__value_length=128, rope__dimension_count=64, expert_count=128, expert_used_count=8, expert_feed_forward_length=1408, expert_shared_count=1, leading_dense_block_count=1, nextn_predict_layers=1), optional=OUT + ["blk.%d." + name for name in ("attn_norm.weight", "attn_q.bias", "attn_k.bias", "attn_v.bias")], runs=["-c 16384", "-c 16384 -ngl 99"])
MLA = dict(attention__key_length_mla=192, attention__value_length_mla=128, attention__kv_lora_rank=512)
model("deepseek-v3", "deepseek2", "mla", "q4_k", base(8, 7168, 18432, 163840, 129280, 128, 1, attention__key_length=576, attention__value_length=512, attention__q_lora_rank=1536, **MLA, rope__dimension_count=64, expert_count=64, expert_used_count=8, expert_feed_forward_length=2048, expert_shared_count=1, leading_dense_block_count=3, expert_gating_func=2), optional=OUT, runs=["-c 16384", "-c 16384 -np 2 -ctk q8_0 -ctv q8_0", "-c 16384 -ngl 99"])
model("deepseek-v2-old", "deepseek2", "mla-old", "q4_k", base(8, 5120, 12288, 163840, 102400, 128, 128, attention__key_length=192, attention__value_length=128, attention__q_lora_rank=1536, attention__kv_lora_rank=512, rope__dimension_count=64, expert_count=32, expert_used_count=6, expert_feed_forward_length=1536, expert_shared_count=2, leading_dense_block_count=1), optional=OUT, runs=["-c 4096"])
model("deepseek-v32", "deepseek32", "indexer", "q4_k", base(6, 7168, 18432, 163840, 129280, 128, 1, attention__key_length=576, attention__value_length=512, attention__q_lora_rank=1536, **MLA, rope__dimension_count=64, expert_count=32, expert_used_count=8, expert_feed_forward_length=2048, expert_shared_count=1, leading_dense_block_count=3, expert_gating_func=2, attention__indexer__head_count=64, attention__indexer__key_length=128, attention__indexer__top_k=2048), optional=OUT, runs=["-c 16384"])
SSM = dict(ssm__conv_kernel=4)
model("mamba-2.8b", "mamba", "recurrent", "f16", base(48, 2560, 0, 1048576, 50280, 0, None, **SSM, ssm__inner_size=5120, ssm__state_size=16, ssm__time_step_rank=160), runs=["-c 4096", "-c 4096 -np 4"])
model("mamba2-2.7b", "mamba2", "recurrent", "f16", base(40, 2560, 0, 1048576, 50288, 0, None, **SSM, ssm__inner_size=5120, ssm__state_size=128, ssm__time_step_rank=80, ssm__group_count=1), runs=["-c 4096 -np 2", "-c 4096 -ngl 99"])
model("rwkv7-3b", "rwkv7", "recurrent", "q8_0", base(16, 2560, 10240, 4096, 65536, 0, None, attention__layer_norm_epsilon=1e-5, wkv__head_size=64, attention__decay_lora_rank=96, attention__iclr_lora_rank=96, attention__value_residual_mix_lora_rank=64, attention__gate_lora_rank=320, token_shift_count=2), optional=OUT, runs=["-c 4096 -np 2"], **{"class": lambda il: il == 0})
model("jamba", "jamba", "hybrid", "q8_0", base(16, 4096, 14336, 262144, 65536, 32, [8 if il % 8 == 4 else 0 for il in range(16)], **SSM, ssm__inner_size=8192, ssm__state_size=16, ssm__time_step_rank=256, expert_count=16, expert_used_count=2), optional=OUT + ["blk.%d.ffn_gate_inp.weight"], runs=["-c 16384"])
model("falcon-h1", "falcon-h1", "hybrid", "q8_0", base(24, 2048, 8192, 262144, 65536, 8, 2, attention__key_length=128, attention__value_length=128, **SSM, ssm__inner_size=3072, ssm__state_size=128, ssm__time_step_rank=48, ssm__group_count=1), optional=OUT + [CONV], runs=["-c 16384 -np 2", "-c 16384 -ngl 99"])
model("granite-h", "granitehybrid", "hybrid", "q4_k", base(20, 2048, 8192, 131072, 100352, 32, [8 if il % 10 == 5 else 0 for il in range(20)], **SSM, ssm__inner_size=4096, ssm__state_size=128, ssm__time_step_rank=64, ssm__group_count=1), optional=OUT + [(CONV, lambda il: il % 10 != 5)], runs=["-c 32768"])
model("qwen3-next", "qwen3next", "hybrid", "q4_k", base(16, 2048, 5120, 262144, 151936, 16, 2, attention__key_length=256, attention__value_length=256, rope__dimension_count=64, **SSM, ssm__inner_size=4096, ssm__state_size=128, ssm__time_step_rank=32, ssm__group_count=16, expert_count=64, expert_used_count=10, expert_feed_forward_length=512, expert_shared_feed_forward_length=512, full_attention_interval=4), optional=OUT + [(f"blk.%d.{name}.weight", lambda il: (il + 1) % 4) for name in ("attn_qkv", "attn_gate")], runs=["-c 32768", "-c 32768 -np 2 -ngl 99"], **{"class": lambda il: (il + 1) % 4 == 0})
model("nemotron-h", "nemotron_h", "hybrid", "q8_0", base(14, 4096, [21504 if il % 2 else 0 for il in range(14)], 131072, 131072, 32, [8 if il == 8 else 0 for il in range(14)], attention__layer_norm_epsilon=1e-5, attention__key_length=128, attention__value_length=128, **SSM, ssm__inner_size=8192, ssm__state_size=128, ssm__time_step_rank=128, ssm__group_count=8), optional=OUT + [(CONV, lambda il: il % 2 == 0 and il != 8)], runs=["-c 16384"])
model("lfm2-1b", "lfm2", "hybrid", "q8_0", base(16, 2048, 8192, 128000, 65536, 32, [8 if il in (2, 5, 8, 10, 12, 14) else 0 for il in range(16)], shortconv__l_cache=3), runs=["-c 32768", "-c 32768 -ngl 99"])
model("kimi-linear", "kimi-linear", "hybrid", "q4_k", base(8, 2304, 9216, 1048576, 163840, 32, [1 if il % 4 == 3 else 0 for il in range(8)], attention__key_length=576, attention__value_length=512, **MLA, rope__dimension_count=64, **SSM, kda__head_dim=128, expert_count=32, expert_used_count=8, expert_feed_forward_length=1024, expert_shared_count=1, leading_dense_block_count=1, expert_gating_func=2, expert_weights_scale=2.446), optional=OUT, runs=["-c 65536"])
model("nomic-embed", "nomic-bert", "encoder", "f16", base(12, 768, 3072, 2048, 30528, 12, None, **{"tokenizer.ggml.token_type_count": 2}, attention__layer_norm_epsilon=1e-12, attention__causal=False, pooling_type=1), runs=["-c 2048 -b 2048 -ub 2048"])

served("served-llama-f32", "llama", "f32", base(6, 768, 2048, 8192, 320, 12, 4, rope__dimension_count=64), optional=OUT,
       runs=["-c 4096", "-c 4096 --load-mode none", "-c 4096 --load-mode mmap+mlock", "-c 8192 -np 2", "-c 8192 -ctk q8_0 -ctv q8_0", "-c 4096 -ub 128"])
served("served-llama-q4", "llama", "q4_0", base(8, 1024, 2816, 8192, 320, 16, 4, rope__dimension_count=64), optional=OUT,
       runs=["-c 4096", "-c 4096 --no-repack", "-c 4096 --load-mode none"])
served("served-gemma3", "gemma3", "q8_0", base(12, 512, 2048, 32768, 320, 8, 4, attention__key_length=128, attention__value_length=128, attention__sliding_window=1024),
       runs=["-c 16384", "-c 16384 --swa-full"])
served("served-qwen3moe", "qwen3moe", "q8_0", base(6, 512, 1536, 32768, 320, 8, 4, attention__key_length=64, attention__value_length=64, expert_count=16, expert_used_count=4, expert_feed_forward_length=768), optional=OUT,
       runs=["-c 8192", "-c 8192 --load-mode none"])
served("served-mamba", "mamba", "f16", base(12, 768, 0, 32768, 320, 0, None, **SSM, ssm__inner_size=1536, ssm__state_size=16, ssm__time_step_rank=48), runs=["-c 4096", "-c 4096 -np 4"])
served("served-deepseek2", "deepseek2", "q8_0", base(4, 512, 2048, 32768, 320, 8, 1, attention__key_length=576, attention__value_length=512, attention__q_lora_rank=512, **MLA, rope__dimension_count=64, expert_count=8, expert_used_count=2, expert_feed_forward_length=1024, expert_shared_count=1, leading_dense_block_count=1, expert_gating_func=2), optional=OUT,
       runs=["-c 8192"])
